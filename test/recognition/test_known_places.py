"""A drive through known streets adds what the map does not answer: new streets and new looks."""

from dataclasses import replace

import numpy as np
import pytest
from pixel_street import PixelExtractor, observations, panorama, take

from vpr_ros.geometry import planar_transform, rotation_angle
from vpr_ros.place_map import GateConfig, PlaceMap
from vpr_ros.place_map.statistics import centred, complete, overall
from vpr_ros.recognition import Mapper, MapperConfig
from vpr_ros.recognition.drive_mean import DriveMean
from vpr_ros.recognition.mapping import KnownPlaces


@pytest.fixture
def street(tmp_path):
    """An empty map of the painted street, places being of 4 m."""
    extractor = PixelExtractor()
    settings = dict(fingerprint=extractor.fingerprint, dim=extractor.dim, preprocessing=extractor.preprocessing)
    with PlaceMap.create(tmp_path / "street.vpr", **settings, place_radius_m=4.0) as place_map:
        yield place_map


def drive(place_map, wall, metres, known_lead, **looks):
    """Maps the street at these metres with true poses; returns the results."""
    gate = GateConfig(distance_m=1.0, known_lead=known_lead)
    mapper, extractor = Mapper(PixelExtractor(), place_map, "drive", MapperConfig(gate=gate)), PixelExtractor()
    frames = [replace(one, T_map_base=one.T_odom_base) for one in observations(wall, metres, **looks)]
    return [take(mapper, extractor, one) for one in frames]


def test_what_the_map_answers_is_not_added_again(street):
    day, night = panorama(0), panorama(1)
    drive(street, day, np.arange(0, 60.0), 0.1)
    assert len(street) == 60  # a first drive adds all
    again = drive(street, day, np.arange(20.5, 80.0), 0.1, start_ns=10**12, light=0.8, noise=4)
    known = [result.reason == "known view" for result in again]
    assert known == [x < 60 for x in np.arange(20.5, 80.0)] and len(street) == 60 + 20
    assert all((result.keyframe_id is None) == one for result, one in zip(again, known, strict=True))
    # the session's mean is that of the whole drive
    assert street.statistics()[2].frames == 60 and street.passed_over == {2: 40}
    new_look = drive(street, night, np.arange(10, 30.0), 0.1, start_ns=2 * 10**12)
    assert not any(result.reason == "known view" for result in new_look)
    before = len(street)
    drive(street, night, np.arange(10, 30.0), None, start_ns=3 * 10**12)
    assert len(street) == before + 20 and street.passed_over == {2: 40}


def test_a_drive_that_adds_nothing_is_a_session_all_the_same(street, tmp_path):
    day = panorama(0)
    drive(street, day, np.arange(0, 30.0), 0.1)
    drive(street, day, np.arange(5, 20.0), 0.1, start_ns=10**12)
    street.close()
    with PlaceMap.open(tmp_path / "street.vpr") as again:
        assert len(again) == 30 and [one.id for one in again.sessions()] == [1, 2]
        assert again.passed_over == {2: 15} and again.statistics()[2].frames == 15


def test_frames_without_a_pose_in_the_map_are_added(street):
    day = panorama(0)
    drive(street, day, np.arange(0, 30.0), 0.1)
    extractor, config = PixelExtractor(), MapperConfig(GateConfig(1.0, known_lead=0.1))
    mapper = Mapper(extractor, street, "lost", config)
    results = [take(mapper, extractor, one) for one in observations(day, np.arange(5, 20.0), start_ns=10**12)]
    assert [result.reason for result in results] == ["first frame", *["moved"] * 14] and len(street) == 45


@pytest.mark.parametrize("memory_frames", [0.0, 60.0])
def test_the_lead_is_that_of_its_definition(tmp_path, memory_frames):
    rng, parts = np.random.default_rng(3), (12, 4)
    shown = {"fingerprint": "f" * 64, "dim": 16, "parts": parts, "preprocessing": {}, "place_radius_m": 5.0}
    with PlaceMap.create(tmp_path / "a.vpr", **shown) as place_map:
        for session in range(3):
            number, constant = place_map.start_session("one"), rng.normal(size=16)
            for i in range(25):
                vector = constant + rng.normal(size=16)
                T = planar_transform(2.0 * i, rng.uniform(-1, 1), rng.choice([0, 0.1, 3.1]))
                posed = T if session < 2 else None
                place_map.add(number, i, vector / np.linalg.norm(vector), T, posed)
        keyframes, statistics = place_map.keyframes(), place_map.statistics()
        known = KnownPlaces(place_map, 5.0, memory_frames, np.radians(15))
    mean = DriveMean(overall(statistics, 16).constant, memory_frames or 1.0)
    leads = []
    for _ in range(60):
        T = planar_transform(rng.uniform(-5, 60), rng.uniform(-2, 2), rng.choice([0, 0.1, 1.5]))
        view = rng.normal(size=16)
        view = (view / np.linalg.norm(view)).astype(np.float16)
        here, there, street = [], [], False
        for row in range(50):
            a, b = keyframes.descriptors[row].astype(np.float32), view.astype(np.float32)
            if memory_frames:
                constant = complete(statistics, keyframes)[keyframes.sessions[row]].constant
                a = centred(a, constant, parts).astype(np.float16).astype(np.float32)
                b = centred(b, mean.mean, parts)
            apart_m = np.linalg.norm(keyframes.T_map_base[row, :3, 3] - T[:3, 3])
            turned = rotation_angle(keyframes.T_map_base[row, :3, :3], T[:3, :3])
            street |= apart_m <= 2.5 and turned <= np.radians(15)
            if apart_m <= 5:
                here.append(float(a @ b))
            elif apart_m > 10:
                there.append(float(a @ b))
        lead = known.lead(T, view)
        assert (lead is None) == (not street)
        if street:
            leads.append(lead)
            assert lead == pytest.approx(max(here) - max(there), abs=1e-5)
        known.learn(view, 0.7)
        mean.update(view.astype(np.float32), 0.7)
    assert len(leads) > 15


def test_a_map_that_is_one_place_leads_over_nothing(street):
    drive(street, panorama(0), np.arange(0, 3.0), None)
    view = street.keyframes().descriptors[1]
    known = KnownPlaces(street, 4.0, 0.0, 0.2)
    assert known.lead(planar_transform(1, 0, 0), view) == pytest.approx(1.0, abs=1e-3)
