"""Accepted matches are registered by LiDAR; only agreement yields a pose."""

import json

import numpy as np
import pytest

from vpr_ros.geometry import invert, make_transform, planar_transform
from vpr_ros.observation import Observation
from vpr_ros.offline.verifying import FILE, loop_closures
from vpr_ros.place_map import PlaceMap
from vpr_ros.recognition import Hypothesis, Recognition
from vpr_ros.runtime.answer import Answer
from vpr_ros.runtime.verification import verify_match
from vpr_ros.verification import Verified

IMAGE = np.zeros((8, 8, 3), np.uint8)


def street(seed: int, points: int = 12000) -> np.ndarray:
    """A cloud (N, 3) of ground and some walls, metres."""
    rng = np.random.default_rng(seed)
    ground = np.column_stack([rng.uniform(-20, 20, (points // 3, 2)), np.zeros(points // 3)])
    walls = []
    for _ in range(8):
        x, y, angle, length = *rng.uniform(-15, 15, 2), rng.uniform(0, np.pi), rng.uniform(4, 10)
        along, up = rng.uniform(-length / 2, length / 2, points // 12), rng.uniform(0, 5, points // 12)
        walls.append(np.column_stack([x + along * np.cos(angle), y + along * np.sin(angle), up]))
    cloud = np.vstack([ground, *walls]) + rng.normal(0, 0.01, (len(ground) + 8 * (points // 12), 3))
    return cloud.astype(np.float32)


def recognition(keyframe_id: int, status: str = "accepted") -> Recognition:
    place = Hypothesis(keyframe_id, 0.97, 0.8, 0, None, 1)
    return Recognition(5, (place,), 0.03, status, "probable", "", ((keyframe_id, 0.8),))


@pytest.fixture
def place_map(tmp_path):
    opened = PlaceMap.create(tmp_path / "m.vpr", fingerprint="f" * 64, dim=4, preprocessing={}, place_radius_m=10.0)
    with opened as place_map:
        session = place_map.start_session("drive")
        for i, cloud in enumerate((street(1), street(2), None)):
            place_map.add(session, i + 1, np.eye(4, dtype=np.float16)[i], cloud=cloud)
        yield place_map


def test_agreement_gives_the_relative_pose_and_disagreement_none(place_map, tmp_path):
    pytest.importorskip("small_gicp")
    T_keyframe_query = planar_transform(0.8, -0.4, 0.06)
    T = invert(T_keyframe_query)
    seen = (street(1) @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
    observation = Observation(5, IMAGE, cloud=seen)
    with loop_closures(tmp_path, True) as closures:
        for found in (recognition(1), recognition(2)):
            verified = verify_match(place_map, observation, found)
            assert isinstance(verified, Verified)
            closures.write(Answer(observation, found, verified=verified))
    assert (closures.tried, closures.agreed) == (2, 1)
    good, bad = (json.loads(line) for line in (tmp_path / FILE).read_text().splitlines())
    assert good["accepted"] and not bad["accepted"]
    found = make_transform(good["T_keyframe_query"][:3], good["T_keyframe_query"][3:])
    np.testing.assert_allclose(found, T_keyframe_query, atol=0.05)
    assert np.array(good["covariance"]).shape == (36,)
    assert "T_keyframe_query" not in bad and "covariance" not in bad


def test_nothing_is_registered_without_an_accepted_match_and_two_clouds(place_map, tmp_path):
    seen = Observation(5, IMAGE, cloud=street(1))
    assert verify_match(place_map, seen, recognition(1, "rejected")) == "no match"
    assert verify_match(place_map, seen, None) == "no match"
    assert verify_match(place_map, Observation(5, IMAGE), recognition(1)) == "no query cloud"
    assert verify_match(place_map, seen, recognition(3)) == "no keyframe cloud"
    with loop_closures(tmp_path, True) as closures:
        closures.write(Answer(seen, recognition(1)))
    assert closures.tried == 0 and (tmp_path / FILE).read_text() == ""
    with loop_closures(tmp_path, False) as closures:
        assert closures is None
