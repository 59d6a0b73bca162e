"""A map above the budget of exact search, and a drive that crosses it, are recognised as one within it is."""

from dataclasses import replace

import numpy as np
import pytest
from recognition_worlds import DIM, World, drive, keyframes, run

from vpr_ros.errors import VprError
from vpr_ros.place_map import Keyframes, PlaceIndex, PlaceMap, limits
from vpr_ros.place_map.index import coded
from vpr_ros.recognition import Recogniser, RecognitionConfig
from vpr_ros.recognition.calibration import Calibration

RADIUS = 10.0
TWO_PARTS = (48, 16)
SMALL_MB = 40 * 2 * DIM * 1e-6  # of 40 keyframes
RAW = RecognitionConfig(place_radius=RADIUS, drive_mean_frames=0)
CENTRED = replace(RAW, drive_mean_frames=60)


@pytest.fixture(scope="module")
def world():
    return World(31)


@pytest.fixture(scope="module")
def query(world):
    return drive(world, [(0, 50, 120), (2, 0, 40), (1, 20, 90)], condition=1, change=0.8, noise=0.4, start_s=1000)


@pytest.fixture
def map_path(world, tmp_path):
    """Callable that writes a map of two drives with descriptors of such parts."""

    def make(parts=None):
        drives = [drive(world, [(one, 0, 200)], step_m=2, condition=one, seed=one) for one in (0, 1)]
        settings = dict(fingerprint="d" * 64, dim=DIM, preprocessing={}, place_radius_m=RADIUS, parts=parts)
        path = tmp_path / "town.vpr"
        with PlaceMap.create(path, **settings) as place_map:
            for number, one in enumerate(drives):
                session = place_map.start_session(f"drive {number}")
                for i in range(len(one.s)):
                    poses = one.T_odom_base[i], one.T_map_base[i]
                    place_map.add(session, int(one.stamps_ns[i]), one.descriptors[i], *poses)
        return path

    return make


def told(answers):
    """All that is said of each query."""
    return [
        (a.status, a.retrieval, [(h.keyframe_id, h.probability) for h in a.hypotheses], a.p_unknown) for a in answers
    ]


@pytest.mark.parametrize("config", [RAW, CENTRED], ids=["as they are", "centred"])
@pytest.mark.parametrize("parts", [None, TWO_PARTS])
def test_answers_are_the_same_to_the_last_bit(map_path, query, config, parts):
    """Codes nominate 400 candidates at least, which is all of this map: what is left are the exact similarities."""
    path, answers = map_path(parts), []
    for exact_mb in (128.0, SMALL_MB, SMALL_MB):  # the second makes the files, the third takes them
        with PlaceMap.open(path) as place_map:
            recogniser = Recogniser.of_map(
                place_map, Calibration.default(RADIUS), replace(config, exact_search_mb=exact_mb)
            )
        answers.append(told(run(recogniser, query)))
    names = {one.name for one in path.parent.iterdir()}
    codes = {"town.vpr.0.faiss", "town.vpr.1.faiss"} if parts else {"town.vpr.faiss"}
    assert names == {"town.vpr", "town.vpr.rows", *codes}
    assert answers[0] == answers[1] == answers[2]
    assert any(status == "accepted" for status, *_ in answers[0])


def test_a_large_map_holds_no_descriptors_in_memory(map_path, query, monkeypatch):
    path, read = map_path(), []
    small = replace(CENTRED, exact_search_mb=SMALL_MB)
    with PlaceMap.open(path) as place_map:
        Recogniser.of_map(place_map, Calibration.default(RADIUS), small)
        monkeypatch.setattr(Keyframes, "select", lambda *args: read.append(args))
        monkeypatch.setattr(PlaceIndex, "build", lambda *args: read.append(args))
        recogniser = Recogniser.of_map(place_map, Calibration.default(RADIUS), small)
    rows = recogniser.searched._index._indexes[0]._coded.rows._pieces
    assert not read and len(rows) == 1 and isinstance(rows[0], np.memmap)
    path.with_name("town.vpr.rows").unlink()  # what is mapped stays, whatever becomes of its name
    assert any(a.status == "accepted" for a in run(recogniser, query))


def test_a_drive_that_crosses_the_budget_is_searched_like_a_finished_map(world, query, monkeypatch):
    monkeypatch.setattr(coded, "_LEAST_CANDIDATES", 100)
    once = drive(world, [(0, 0, 200), (1, 0, 200)], step_m=2, rate_hz=5)
    found = []
    for exact_mb in (128.0, SMALL_MB):
        config = replace(CENTRED, loop_min_gap_s=5.0, exact_search_mb=exact_mb, top_k=10)
        recogniser = Recogniser(None, config=config, dim=DIM)
        for i in range(len(once.s)):
            recogniser.recognise(int(once.stamps_ns[i]), once.descriptors[i], once.T_odom_base[i])
            odom, pose = once.T_odom_base[i], once.T_map_base[i]
            recogniser.insert(i, 1, int(once.stamps_ns[i]), once.descriptors[i], odom, pose)
        recogniser.end_session()
        found.append([a.retrieval for a in run(recogniser, query)])
    best = [(a[0], b[0]) for a, b in zip(*found, strict=True)]
    assert np.mean([a == b for a, b in best]) >= 0.99  # the same keyframe, with the same similarity
    whole = Recogniser(replace(keyframes(once), ids=np.arange(len(once.s))), config=config)
    assert np.mean([a.retrieval[0] == b[0] for a, b in zip(run(whole, query), found[1], strict=True)]) >= 0.99


def test_what_a_map_cannot_tell_is_found_without_reading_it_whole(map_path):
    with PlaceMap.open(map_path()) as place_map:
        assert limits(place_map.keyframes(0.0)) == limits(place_map.keyframes())


def test_a_budget_below_nothing_is_refused():
    with pytest.raises((ValueError, VprError), match="exact_search_mb -1 is not 0 or more"):
        RecognitionConfig(exact_search_mb=-1.0)
