"""Observations to a map file and back, with a real if modest descriptor: the blurred, normalised picture itself."""

import cv2
import numpy as np
import pytest
from pixel_street import SIZE, PixelExtractor, observations, panorama, take

from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.geometry import planar_transform
from vpr_ros.observation import Observation
from vpr_ros.place_map import GateConfig, PlaceMap
from vpr_ros.place_map.describer import described
from vpr_ros.recognition import Calibration, Localizer, Mapper, MapperConfig, RecognitionConfig


@pytest.fixture
def make_map(tmp_path):
    made = []

    def make(name="a.vprmap", radius=4.0):
        extractor = PixelExtractor()
        place_map = PlaceMap.create(
            tmp_path / name,
            fingerprint=extractor.fingerprint,
            dim=extractor.dim,
            preprocessing=extractor.preprocessing,
            place_radius_m=radius,
        )
        made.append(place_map)
        return place_map

    yield make
    for place_map in made:
        place_map.close()


CONFIG = MapperConfig(gate=GateConfig(distance_m=1.0))


def test_a_drive_is_mapped_and_found_again(make_map):
    wall, extractor, place_map = panorama(0), PixelExtractor(), make_map()
    mapper = Mapper(extractor, place_map, "first", CONFIG)
    results = [take(mapper, extractor, o) for o in observations(wall, np.arange(0, 200, 0.5))]
    kept = [r for r in results if r.keyframe_id is not None]
    assert len(kept) == 200 == len(place_map) and all(r.recognition is None for r in results)
    frames = place_map.keyframes()
    np.testing.assert_allclose(frames.T_map_base, frames.T_odom_base)  # the first drive gives the map its frame
    image = cv2.imdecode(np.frombuffer(place_map.thumbnail(kept[0].keyframe_id), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[:2] == SIZE

    localizer = Localizer(extractor, place_map)
    assert localizer.recogniser.calibration.source == "default"
    metres = np.arange(20, 180, 0.5)
    queries = list(observations(wall, metres, light=0.6, start_ns=10**12, noise=8, seed=1))
    answers = [take(localizer, extractor, o) for o in queries]
    found = [r.best.T_map_base[0, 3] if r.best else np.inf for r in answers]
    errors = np.abs(np.array(found) - metres)
    assert (errors[20:] <= 4).mean() > 0.97
    assert np.mean([r.status == "accepted" for r in answers[60:]]) > 0.8
    assert all(e <= 4 for r, e in zip(answers, errors, strict=True) if r.match)


def test_true_map_poses_of_queries_are_never_looked_at(make_map):
    wall, extractor, place_map = panorama(1), PixelExtractor(), make_map()
    mapper = Mapper(extractor, place_map, "first", CONFIG)
    for o in observations(wall, np.arange(0, 60, 0.5)):
        take(mapper, extractor, o)
    queries = list(observations(wall, np.arange(10, 50, 0.5), light=0.7, start_ns=10**12))
    lies = [
        Observation(o.stamp_ns, o.image, o.T_odom_base, T_map_base=planar_transform(-i, 5, 2))
        for i, o in enumerate(queries)
    ]
    plain, lied = (Localizer(extractor, place_map) for _ in range(2))
    expected = [MatchRecord.from_recognition(take(plain, extractor, o)) for o in queries]
    assert [MatchRecord.from_recognition(take(lied, extractor, o)) for o in lies] == expected


def test_slam_finds_the_loop_and_not_itself(make_map):
    wall, extractor, place_map = panorama(2), PixelExtractor(), make_map()
    recognition = RecognitionConfig(loop_min_gap_s=5.0, loop_min_travel_m=10.0)
    config = MapperConfig(gate=GateConfig(distance_m=1.0), recognition=recognition, slam=True)
    mapper = Mapper(extractor, place_map, "loop", config, calibration=Calibration.default(4.0))
    metres = np.r_[np.arange(0, 100, 0.5), np.arange(0, 60, 0.5)]
    results = []
    for i, o in enumerate(observations(wall, metres)):
        T = planar_transform(0.5 * i, 0, 0)  # odometry that goes on and on
        results.append(take(mapper, extractor, Observation(o.stamp_ns, o.image, T)))
    first, second = results[:200], results[200:]
    assert first[0].recognition.reason == "no_map" and not any(r.recognition.match for r in first)
    hits = [(metres[200 + i], r.recognition.match) for i, r in enumerate(second) if r.recognition.match]
    assert len(hits) > 40 and all(abs(h.T_map_base[0, 3] - x) <= 4 for x, h in hits)


def test_a_bad_image_fails_alone(make_map):
    wall, extractor = panorama(3), PixelExtractor()
    frames = list(observations(wall, np.arange(0, 5, 1.0)))
    frames[2] = Observation(frames[2].stamp_ns, np.zeros((60, 80, 3), np.uint8), frames[2].T_odom_base)
    pairs = list(described(extractor, frames))
    assert all(o.image is frame.image for (o, _), frame in zip(pairs, frames, strict=True))
    assert all(np.array_equal(o.network_input, extractor.prepare(o.image)) for o, _ in pairs)
    assert [i for i, (_, d) in enumerate(pairs) if isinstance(d, FrameError)] == [2]
    assert np.array_equal(pairs[3][1], extractor.describe([frames[3].image])[0])


def test_a_second_drive_without_map_poses_keeps_its_own_frame(make_map):
    wall, extractor, place_map = panorama(4), PixelExtractor(), make_map()
    for name in ("first", "second"):
        mapper = Mapper(extractor, place_map, name, CONFIG)
        for o in observations(wall, np.arange(0, 10, 1.0)):
            take(mapper, extractor, o)
    frames = place_map.keyframes()
    assert np.isfinite(frames.T_map_base[frames.sessions == frames.sessions[0]]).all()
    assert np.isnan(frames.T_map_base[frames.sessions == frames.sessions[-1]]).all()


def test_another_models_map_and_an_empty_map_are_refused(make_map):
    extractor, place_map = PixelExtractor(), make_map()
    with pytest.raises(VprError, match="has no keyframes"):
        Localizer(extractor, place_map)
    other = PixelExtractor()
    other.fingerprint = "b2" * 32
    for build in (lambda: Localizer(other, place_map), lambda: Mapper(other, place_map, "first")):
        with pytest.raises(VprError, match="vpr_ros redescribe"):
            build()
