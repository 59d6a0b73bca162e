"""What the core answers, as ROS messages: every number at its place. The message classes are needed, no network."""

from array import array
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not here")

from answers import ACCEPTED, REJECTED, STAMP_NS, UNKNOWN, recognition
from visualization_msgs.msg import Marker

from vpr_ros.geometry import planar_transform, quaternion_to_matrix
from vpr_ros.nodes.outputs import messages
from vpr_ros.nodes.outputs.markers import LIFETIME_S, markers_of
from vpr_ros.runtime.match_picture import STATUS_COLOURS, rgb

COVARIANCE = np.arange(36.0).reshape(6, 6)


def detected(probabilities, **kwargs):
    return messages.detection(
        recognition(probabilities, **kwargs), map_id="abc", frame_id="map", place_radius_m=10.0, covariance=COVARIANCE
    )


@pytest.mark.parametrize("stamp_ns", [0, 1, 999_999_999, 10**9, STAMP_NS, (2**31 - 1) * 10**9 + 999_999_999])
def test_stamps_are_exact(stamp_ns):
    time = messages.time_of(stamp_ns)
    assert time.sec * 10**9 + time.nanosec == stamp_ns and 0 <= time.nanosec < 10**9
    assert messages.time_of(np.int64(stamp_ns)) == time


def test_poses_and_covariances_are_where_ros_wants_them():
    T = planar_transform(1.0, -2.0, 0.7, 3.0)
    pose = messages.stamped_pose(T, COVARIANCE, STAMP_NS, "map")
    p, q = pose.pose.pose.position, pose.pose.pose.orientation
    assert (p.x, p.y, p.z) == (1.0, -2.0, 3.0)
    np.testing.assert_allclose(quaternion_to_matrix((q.x, q.y, q.z, q.w)), T[:3, :3], atol=1e-12)
    assert list(pose.pose.covariance) == list(range(36))  # row-major
    assert isinstance(pose.pose.covariance, np.ndarray)
    assert pose.header.frame_id == "map"


def test_an_accepted_answer():
    message = detected(ACCEPTED)
    assert message.header.stamp == messages.time_of(STAMP_NS) and message.header.frame_id == "map"
    assert [r.hypothesis.class_id for r in message.results] == ["abc/100", "abc/101"]
    assert [r.hypothesis.score for r in message.results] == list(ACCEPTED)
    assert message.id == "abc/100"
    assert message.results[1].pose.pose.position.x == 10.0
    assert list(message.results[1].pose.covariance) == list(range(36))
    assert message.bbox.center == message.results[0].pose.pose
    assert (message.bbox.size.x, message.bbox.size.y, message.bbox.size.z) == (20.0, 20.0, 20.0)


@pytest.mark.parametrize("probabilities", [REJECTED, UNKNOWN, ()])
def test_every_other_answer_names_no_place_as_its_own(probabilities):
    message = detected(probabilities)
    assert message.id == "" and len(message.results) == len(probabilities)
    assert message.bbox.size.x == (20.0 if probabilities else 0.0)


def test_a_map_without_poses_says_that_it_knows_none():
    message = detected(ACCEPTED, poses=False)
    assert message.id == "abc/100" and message.bbox.size.x == 0.0
    pose = message.results[0].pose
    assert (pose.pose.position.x, pose.pose.orientation.w) == (0.0, 1.0)
    np.testing.assert_array_equal(pose.covariance.reshape(6, 6), 1e6 * np.eye(6))


def test_a_loop_candidate_is_two_times():
    message = messages.loop_candidate(STAMP_NS, 1_789_999_000_500_000_000)
    assert isinstance(message.data, array)
    assert list(message.data) == [1790000000.1234567, 1789999000.5]
    (dimension,) = message.layout.dim
    assert (dimension.label, dimension.size, dimension.stride) == ("t_query,t_keyframe", 2, 2)


def test_what_holds_at_any_time_has_no_stamp():
    info = messages.vision_info(method="", location="", version=0, frame_id="map")
    path = messages.KeyframePath("abc", "map").message
    assert info.header.stamp == path.header.stamp == messages.time_of(0)


def test_vision_info():
    info = messages.vision_info(method="nano 0123456789ab", location="/maps/yard.vpr", version=7, frame_id="map")
    assert (info.method, info.database_location, info.database_version) == ("nano 0123456789ab", "/maps/yard.vpr", 7)
    assert messages.vision_info(method="", location="", version=2**40, frame_id="").database_version == 2**31 - 1


def keyframes(first, last):
    ids = np.arange(first, last + 1)
    poses = np.array([planar_transform(float(i), 0.0, 0.0) for i in ids])
    poses[ids % 3 == 0] = np.nan
    return SimpleNamespace(ids=ids, stamps_ns=STAMP_NS + ids, T_map_base=poses)


def test_the_path_names_each_keyframe_and_grows():
    path = messages.KeyframePath("abc", "map")
    assert path.extend(keyframes(1, 4), up_to=3) and path.last_id == 3
    kept = list(path.message.poses)
    assert not path.extend(keyframes(1, 4), up_to=3)
    assert path.extend(keyframes(4, 6), up_to=9)
    assert all(a is b for a, b in zip(kept, path.message.poses, strict=False))  # nothing is built twice
    assert [p.header.frame_id for p in path.message.poses] == [f"abc/{i}" for i in range(1, 7)]
    assert [p.header.stamp for p in path.message.poses] == [messages.time_of(STAMP_NS + i) for i in range(1, 7)]
    assert [p.pose.position.x for p in path.message.poses] == [1, 2, 0, 4, 5, 0]  # every third has no pose
    assert all(p.pose.orientation.w == 1.0 for p in path.message.poses)
    assert path.message.header.frame_id == "map"


def test_a_compressed_image():
    message = messages.jpeg(b"\xff\xd8abc", STAMP_NS, "map")
    assert bytes(message.data) == b"\xff\xd8abc" and message.format == "jpeg"


# Markers


def marked(probabilities, T_map_base=None, **kwargs):
    array = markers_of(recognition(probabilities, **kwargs), T_map_base=T_map_base, frame_id="map", place_radius_m=10.0)
    assert array.markers[0].action == Marker.DELETEALL  # nothing of the last answer stays
    assert all(m.header.frame_id == "map" for m in array.markers)
    assert all(m.lifetime.sec == LIFETIME_S for m in array.markers[1:])
    assert len({(m.ns, m.id) for m in array.markers[1:]}) == len(array.markers) - 1
    return array.markers[1:]


def of_kind(markers, kind):
    return [m for m in markers if m.type == kind]


@pytest.mark.parametrize("probabilities", [ACCEPTED, REJECTED, UNKNOWN])
def test_the_best_place_is_the_largest_and_has_the_colour_of_the_status(probabilities):
    markers = marked(probabilities)
    best, second = of_kind(markers, Marker.SPHERE)
    assert best.scale.x > second.scale.x and best.color.a > second.color.a
    answer = recognition(probabilities)
    np.testing.assert_allclose(
        [best.color.r, best.color.g, best.color.b], np.array(rgb(STATUS_COLOURS[answer.status])) / 255, atol=1e-6
    )
    words = of_kind(markers, Marker.TEXT_VIEW_FACING)
    assert words[0].text == f"{answer.status} {probabilities[0]:.2f}"
    assert words[0].pose.position.z > 0.0


def test_a_line_from_the_robot_to_an_accepted_place_only():
    robot = planar_transform(3.0, 4.0, 0.0)
    (line,) = of_kind(marked(ACCEPTED, robot), Marker.LINE_LIST)
    assert [(p.x, p.y) for p in line.points] == [(3.0, 4.0), (0.0, 2.0)]
    assert not of_kind(marked(REJECTED, robot), Marker.LINE_LIST)
    assert not of_kind(marked(ACCEPTED, None), Marker.LINE_LIST)


def test_places_without_a_pose_are_not_drawn():
    assert marked(ACCEPTED, planar_transform(0, 0, 0), poses=False) == [] and marked(()) == []
