"""Accepted matches are verified by LiDAR, by keypoints, or by one after the other; only agreement yields a pose."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.landmark_world import LandmarkWorld

from vpr_ros.errors import VprError
from vpr_ros.evaluation.verified import CLOSURES
from vpr_ros.geometry import invert, make_transform, planar_transform, yaw_of
from vpr_ros.observation import Observation
from vpr_ros.offline.verifying import POSES, verified_matches
from vpr_ros.place_map import PlaceMap
from vpr_ros.recognition import Hypothesis, Recognition
from vpr_ros.recognition.topology import Topology
from vpr_ros.runtime.answer import Answer, query_pose
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.local_features import FrameFeatures
from vpr_ros.runtime.verification import Verifier
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


WORLD = LandmarkWorld(7)
T_MAP_KEYFRAMES = [planar_transform(2.0 * i, 0.1 * i, 0.02 * i) for i in range(3)]
T_KEYFRAME_QUERY = planar_transform(0.8, -0.4, 0.06)


def recognition(keyframe_id: int, status: str = "accepted") -> Recognition:
    place = Hypothesis(keyframe_id, 0.97, 0.8, keyframe_id - 1, T_MAP_KEYFRAMES[keyframe_id - 1], 1)
    return Recognition(5, (place,), 0.03, status, "accepted", "", ((keyframe_id, 0.8),))


class OfTheWorld:
    """Makes the features that a camera has at one pose, whatever the picture."""

    kind = "xfeat"

    def __init__(self, T_world_base: np.ndarray):
        self._seen = WORLD.seen_from(T_world_base, 99)

    def extract(self, images):
        return [self._seen for _ in images]


def answer_at(keyframe_id: int, T_world_base: np.ndarray, status: str = "accepted", **sensors) -> Answer:
    seen = OfTheWorld(T_world_base)
    (of,) = seen.extract([IMAGE])
    observation = Observation(5, IMAGE, camera=of.camera, T_base_camera=of.T_base_camera, **sensors)
    features = FrameFeatures(observation, seen, Health())
    return Answer(observation, recognition(keyframe_id, status), features=features)


def scanned(seed: int) -> np.ndarray:
    """What the query's LiDAR sees of a street, where the keyframe saw street(seed)."""
    T = invert(T_KEYFRAME_QUERY)
    return (street(seed) @ T[:3, :3].T + T[:3, 3]).astype(np.float32)


def topology(place_map: PlaceMap) -> Topology:
    return Topology(place_map.keyframes(), 10.0)


@pytest.fixture
def place_map(tmp_path):
    """Three keyframes of one drive, two metres apart, with clouds of unlike streets, the last one without; features of
    the world with depth, the last one without depth."""
    opened = PlaceMap.create(tmp_path / "m.vpr", fingerprint="f" * 64, dim=4, preprocessing={}, place_radius_m=10.0)
    with opened as place_map:
        session = place_map.start_session("drive")
        for i, cloud in enumerate((street(1), street(2), None)):
            T = T_MAP_KEYFRAMES[i]
            seen = WORLD.seen_from(T, i, depth_noise=0.01 if i < 2 else None)
            vector = np.eye(4, dtype=np.float16)[i]
            place_map.add(session, i + 1, vector, cloud=cloud, T_map_base=T, T_odom_base=T, features=seen)
        yield place_map


def test_lidar_that_agrees_gives_the_relative_pose_and_disagreement_none(place_map, tmp_path):
    pytest.importorskip("small_gicp")
    verifier, at = Verifier(place_map, "lidar"), topology(place_map)
    with verified_matches(tmp_path, True) as closures:
        for keyframe_id in (1, 2):
            answer = answer_at(keyframe_id, T_MAP_KEYFRAMES[0], cloud=scanned(1))
            verified = verifier.verify(answer, at)
            assert isinstance(verified, Verified) and verified.method == "lidar"
            answer = replace(answer, verified=verified)
            closures.write(answer, query_pose(answer, 10.0, None, None))
    assert closures.counts == {"tried": 2, "agreed": 1, "posed by lidar": 1}
    good, bad = (json.loads(line) for line in (tmp_path / CLOSURES).read_text().splitlines())
    assert good["accepted"] and not bad["accepted"] and good["method"] == bad["method"] == "lidar"
    found = make_transform(good["T_keyframe_query"][:3], good["T_keyframe_query"][3:])
    np.testing.assert_allclose(found, T_KEYFRAME_QUERY, atol=0.05)
    assert np.array(good["covariance"]).shape == (36,)
    assert "T_keyframe_query" not in bad and "covariance" not in bad and "keypoints" not in good
    (line,) = (tmp_path / POSES).read_text().splitlines()
    stamp, *pose = (float(word) for word in line.split())
    assert stamp == 5e-9 and np.allclose(make_transform(pose[:3], pose[3:]), T_MAP_KEYFRAMES[0] @ found, atol=1e-5)


def test_the_camera_measures_by_keyframes_with_depth_and_by_their_neighbours(place_map, tmp_path):
    verifier, at = Verifier(place_map, "camera"), topology(place_map)
    with verified_matches(tmp_path, True) as closures:
        for keyframe_id in (1, 3):  # the third has no depth itself
            answer = answer_at(keyframe_id, T_MAP_KEYFRAMES[keyframe_id - 1] @ T_KEYFRAME_QUERY)
            verified = verifier.verify(answer, at)
            assert isinstance(verified, Verified) and verified.metric and verified.method == "camera"
            error = invert(T_KEYFRAME_QUERY) @ verified.T_keyframe_query
            assert np.linalg.norm(error[:3, 3]) < 0.1 and abs(yaw_of(error)) < 0.01
            answer = replace(answer, verified=verified)
            closures.write(answer, query_pose(answer, 10.0, None, None))
    lines = [json.loads(line) for line in (tmp_path / CLOSURES).read_text().splitlines()]
    keypoints = np.array(lines[0]["keypoints"])
    assert 40 <= len(keypoints) <= 60 and keypoints.min() >= 0 and keypoints.max() <= 1000
    assert len((tmp_path / POSES).read_text().splitlines()) == 2
    assert closures.sentence(4) == "verification: 2 of 2 matches agree, 2 posed by camera"


def test_auto_takes_lidar_from_the_cameras_pose_and_the_camera_where_lidar_cannot(place_map):
    pytest.importorskip("small_gicp")
    verifier, at = Verifier(place_map, "auto"), topology(place_map)
    T_map_query = T_MAP_KEYFRAMES[0] @ T_KEYFRAME_QUERY
    both = verifier.verify(answer_at(1, T_map_query, cloud=scanned(1)), at)
    assert both.metric and both.method == "lidar"
    np.testing.assert_allclose(both.T_keyframe_query, T_KEYFRAME_QUERY, atol=0.03)
    # A scan of another street: LiDAR refuses, and the keypoints' word stands.
    other = verifier.verify(answer_at(1, T_map_query, cloud=street(5)), at)
    assert other.metric and other.method == "camera"
    # No keypoint agrees, and LiDAR finds the pose by itself.
    lost = verifier.verify(answer_at(1, planar_transform(0.0, 300.0, 0.0), cloud=scanned(1)), at)
    assert lost.metric and lost.method == "lidar"
    assert verifier.verify(answer_at(1, T_map_query), at).method == "camera"


def test_sensors_that_contradict_each_other_give_no_pose(place_map):
    """The clouds agree six metres from where the keypoints have the robot."""
    pytest.importorskip("small_gicp")
    verifier, at = Verifier(place_map, "auto"), topology(place_map)
    far = T_MAP_KEYFRAMES[0] @ planar_transform(6.0, 1.0, 0.3)
    found = verifier.verify(answer_at(1, far, cloud=scanned(1)), at)
    assert not found.accepted and not found.metric and found.reason == "contradicted"


def test_nothing_is_verified_without_an_accepted_match_and_something_on_both_sides(place_map, tmp_path):
    at, T = topology(place_map), T_MAP_KEYFRAMES[0]
    camera, lidar = Verifier(place_map, "camera"), Verifier(place_map, "lidar")
    assert camera.verify(answer_at(1, T, "rejected"), at) == "no match"
    assert lidar.verify(replace(answer_at(1, T), recognition=None), at) == "no match"
    without = replace(answer_at(1, T), features=FrameFeatures(Observation(5, IMAGE), None, Health()))
    assert camera.verify(without, at) == "no query features"
    assert lidar.verify(answer_at(1, T), at) == "no query cloud"
    pytest.importorskip("small_gicp")
    assert lidar.verify(answer_at(3, T, cloud=street(1)), at) == "no keyframe cloud"
    assert Verifier(place_map, "auto").verify(without, at) == "nothing in common"
    with verified_matches(tmp_path, True) as closures:
        closures.write(answer_at(1, T), None)
    assert closures.counts == {} and (tmp_path / CLOSURES).read_text() == (tmp_path / POSES).read_text() == ""
    assert "nothing was accepted" in closures.sentence(0) and "none of the 3" in closures.sentence(3)
    with verified_matches(tmp_path, False) as closures:
        assert closures is None


def test_a_map_that_can_never_verify_is_refused_at_once(place_map, tmp_path):
    Verifier(place_map, "camera").require("")
    path = tmp_path / "bare.vpr"
    with PlaceMap.create(path, fingerprint="f" * 64, dim=4, preprocessing={}, place_radius_m=10.0) as bare:
        bare.add(bare.start_session("drive"), 1, np.eye(4, dtype=np.float16)[0])
    with PlaceMap.open(path) as bare:
        assert Verifier(bare, "camera").verify(answer_at(1, np.eye(4)), topology(bare)) == "no keyframe features"
        for how in ("camera", "auto"):
            with pytest.raises(VprError, match="nothing to verify against: no local features: the map has none"):
                Verifier(bare, how).require("no local features: the map has none")
        pytest.importorskip("small_gicp")
        with pytest.raises(VprError, match="keeps no LiDAR clouds"):
            Verifier(bare, "lidar").require("")
