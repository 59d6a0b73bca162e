"""The publishers of the node on a real middleware: who gets what, when, and what happens when nobody is there."""

from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from answers import ACCEPTED, REJECTED, STAMP_NS, recognition
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_robot import qos, wait_until
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Float64MultiArray
from vision_msgs.msg import Detection3D, VisionInfo
from visualization_msgs.msg import MarkerArray

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.nodes.inputs.subscription import TopicInput
from vpr_ros.nodes.outputs import outputs as outputs_module
from vpr_ros.nodes.outputs.messages import time_of
from vpr_ros.nodes.outputs.outputs import Outputs
from vpr_ros.nodes.outputs.publishers import TOPICS, Publishers
from vpr_ros.observation import Observation
from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.answer import Answer
from vpr_ros.verification import Verified

KINDS = {
    "matches": Detection3D,
    "pose": PoseWithCovarianceStamped,
    "loop_candidate": Float64MultiArray,
    "loop_closure": PoseWithCovarianceStamped,
    "keyframes": PathMessage,
    "vision_info": VisionInfo,
    "match_image/compressed": CompressedImage,
    "markers": MarkerArray,
    "initial_pose": PoseWithCovarianceStamped,
    "query_matches": Detection3D,
    "query_keyframe/compressed": CompressedImage,
}
IMAGE = np.full((48, 64, 3), 120, np.uint8)
POSE = planar_transform(1.0, 2.0, 0.5), np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


@pytest.fixture
def place_map(tmp_path):
    settings = dict(fingerprint="f" * 64, dim=4, preprocessing={}, place_radius_m=8.0, model_name="nano")
    with PlaceMap.create(tmp_path / "yard.vpr", **settings) as made:
        made.commit_interval_s = 1e9  # durable when the test says so
        session = made.start_session("now")
        for i in range(3):
            made.add(session, STAMP_NS + i, np.eye(4)[i], T_map_base=planar_transform(float(i), 0.0, 0.0))
        yield made


@pytest.fixture
def bench(place_map):
    """A node with its outputs over a pipeline that is only its map; `sessions` are those of the places by row."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("vpr", context=context)
    topology = SimpleNamespace(sessions=np.array([1, 1]), radius=8.0)
    pipeline = SimpleNamespace(
        place_map=place_map,
        session=1,
        recogniser=SimpleNamespace(topology=topology),
        keyframes=place_map.poses,
    )
    bench = SimpleNamespace(node=node, context=context, pipeline=pipeline, outputs=Outputs(node, pipeline))
    yield bench
    context.try_shutdown()
    node.destroy_node()


def listeners(robot, bench, names=tuple(KINDS)):
    """Heard messages by topic, matched with the publishers that exist now."""
    heard = {}
    for name in names:
        profile = qos(latched=name in ("keyframes", "vision_info"), reliable="image" not in name)
        heard[name] = robot.listen(f"/vpr/{name}", KINDS[name], profile)
    wait_until(lambda: all(bench.outputs.publishers.subscriptions(name) for name in names))
    return heard


def answer(probabilities, **kwargs):
    return Answer(Observation(STAMP_NS, IMAGE), recognition(probabilities), **kwargs)


def send(bench, sent, pose, initial):
    """As the node does: the match, and then what follows from it."""
    bench.outputs.publish_match(sent)
    bench.outputs.publish(sent, pose, initial)


def verified(accepted=True):
    T = planar_transform(0.5, 0.1, 0.02)
    return Verified(accepted, "registered", "lidar", T, 0.01 * np.eye(6), 0.9, 0.1)


def test_an_accepted_and_verified_match_reaches_everybody(robot, bench):
    bench.outputs.start()
    heard = listeners(robot, bench)
    bench.outputs.publish_vision_info()
    bench.outputs.publish_keyframes()
    send(bench, answer(ACCEPTED, verified=verified()), POSE, initial=True)
    names = [name for name in KINDS if name != "keyframes" and not name.startswith("query")]
    (match, pose, candidate, closure, info, image, markers, initial) = (heard[name].wait()[0] for name in names)
    map_id = bench.pipeline.place_map.map_id
    assert match.id == f"{map_id}/100" and match.header.frame_id == "map" and match.bbox.size.x == 16.0
    assert list(match.results[0].pose.covariance[[0, 7, 14]]) == [16.0, 16.0, 256.0]
    stamp = time_of(STAMP_NS)
    assert all(m.header.stamp == stamp for m in (match, pose, closure, image, initial, *markers.markers))
    assert pose.header.frame_id == "map" and pose.pose.pose.position.y == 2.0
    assert list(pose.pose.covariance[::7]) == [1, 2, 3, 4, 5, 6]
    assert initial == pose
    assert list(candidate.data) == [STAMP_NS / 1e9, 1000 / 1e9]
    assert [dimension.label for dimension in candidate.layout.dim] == ["t_query,t_keyframe"]
    assert closure.header.frame_id == f"{map_id}/100" and closure.pose.pose.position.x == 0.5
    assert closure.pose.covariance[0] == 0.01
    assert info.method == "nano ffffffffffff" and info.database_location.endswith("yard.vpr")
    assert bytes(image.data)[:2] == b"\xff\xd8" and image.format == "jpeg"
    assert {m.ns for m in markers.markers} == {"", "places", "words", "match"}


def test_a_rejected_match_is_told_and_nothing_more(robot, bench):
    bench.outputs.start()
    names = ("matches", "pose", "loop_candidate", "loop_closure", "initial_pose")
    heard = listeners(robot, bench, names)
    send(bench, answer(REJECTED), None, initial=False)
    send(bench, answer(ACCEPTED, verified=verified(False)), POSE, initial=False)
    assert [bool(m.id) for m in heard["matches"].wait(2)] == [False, True]
    heard["pose"].wait()
    heard["loop_candidate"].wait()
    assert len(heard["matches"].messages[0].results) == len(REJECTED)
    assert {name: len(heard[name]) for name in names} == {
        "matches": 2,
        "pose": 1,
        "loop_candidate": 1,
        "loop_closure": 0,
        "initial_pose": 0,
    }


def test_only_this_drives_keyframes_are_loop_candidates(robot, bench):
    bench.outputs.start()
    heard = listeners(robot, bench, ("matches", "loop_candidate"))
    for session in (None, 2, 1):  # localising, another drive, this one
        bench.pipeline.session = session
        send(bench, answer(ACCEPTED), None, initial=False)
    heard["matches"].wait(3)
    heard["loop_candidate"].wait()
    assert len(heard["loop_candidate"]) == 1


def test_nothing_is_drawn_for_nobody(robot, bench, monkeypatch):
    drawn = []
    monkeypatch.setattr(outputs_module, "match_picture", lambda *_: drawn.append("picture") or b"")
    monkeypatch.setattr(outputs_module, "markers_of", lambda *_, **__: drawn.append("markers") or MarkerArray())
    bench.outputs.start()
    heard = listeners(robot, bench, ("matches",))
    send(bench, answer(ACCEPTED), POSE, initial=False)
    heard["matches"].wait()
    assert drawn == []
    listeners(robot, bench, ("match_image/compressed", "markers"))
    send(bench, answer(ACCEPTED), POSE, initial=False)
    assert sorted(drawn) == ["markers", "picture"]


def test_while_mapping_only_the_picture_goes_out(robot, bench):
    bench.outputs.start()
    heard = listeners(robot, bench, ("matches", "match_image/compressed"))
    kept = Answer(Observation(STAMP_NS, IMAGE), None, keyframe_id=1, reason="moved 2.0 m")
    send(bench, kept, None, initial=False)
    heard["match_image/compressed"].wait()
    assert not len(heard["matches"])


def test_keyframes_are_latched_durable_and_sent_when_they_change(robot, bench):
    bench.outputs.start()
    bench.outputs.publish_keyframes()
    late = listeners(robot, bench, ("keyframes",))["keyframes"]
    assert late.wait()[0].poses == []  # nothing is on disk yet: no id is permanent
    bench.pipeline.place_map.flush()
    bench.outputs.publish_keyframes()
    bench.outputs.publish_keyframes()
    path = late.wait(2)[1]
    map_id = bench.pipeline.place_map.map_id
    assert [p.header.frame_id for p in path.poses] == [f"{map_id}/{i}" for i in (1, 2, 3)]
    assert [p.header.stamp for p in path.poses] == [time_of(STAMP_NS + i) for i in range(3)]
    assert [p.pose.position.x for p in path.poses] == [0.0, 1.0, 2.0]
    robot.deafen(late)
    bench.outputs.stop()
    bench.outputs.start()
    bench.outputs.publish_keyframes()  # unchanged, but the new publisher has nothing yet
    again = listeners(robot, bench, ("keyframes",))["keyframes"]
    assert len(again.wait()[0].poses) == 3
    assert len(late) == 2


def test_the_latched_info_follows_the_maps_version(robot, bench):
    bench.outputs.start()
    place_map = bench.pipeline.place_map
    late = listeners(robot, bench, ("vision_info",))["vision_info"]
    for _ in range(2):
        bench.outputs.publish_vision_info()
    place_map.set_place_radius(9.0)  # any edit
    place_map.flush()
    for _ in range(2):
        bench.outputs.publish_vision_info()
    first, second = late.wait(2)
    assert first.database_version < second.database_version == place_map.version
    assert first.header.stamp == second.header.stamp == time_of(0)
    newcomer = listeners(robot, bench, ("vision_info",))["vision_info"]
    assert newcomer.wait()[0] == second and len(late) == 2


def test_outside_of_start_and_stop_nothing_is_sent_and_nothing_breaks(bench):
    def everything():
        send(bench, answer(ACCEPTED), POSE, initial=True)
        bench.outputs.publish_keyframes()
        bench.outputs.publish_vision_info()
        bench.outputs.publish_query(recognition(ACCEPTED))

    everything()
    for _ in range(20):
        bench.outputs.start()
        everything()
        bench.outputs.stop()
    everything()
    bench.outputs.stop()
    own = [topic for topic, _ in bench.node.get_publisher_names_and_types_by_node("vpr", "/") if "/vpr/" in topic]
    assert own == []


@pytest.fixture
def node_with():
    """Makes a node `vpr` whose user has set parameters; `node_with({name: value}, image="/front/image")`."""
    contexts = []

    def make(overrides, **remaps):
        contexts.append(rclpy.Context())
        rclpy.init(context=contexts[-1])
        parameters = [Parameter(name, value=value) for name, value in overrides.items()]
        rules = [word for name, topic in remaps.items() for word in ("-r", f"{name}:={topic}")]
        words = ["--ros-args", *rules] if rules else None
        return rclpy.create_node("vpr", context=contexts[-1], parameter_overrides=parameters, cli_args=words)

    yield make
    for context in contexts:
        context.try_shutdown()


def test_users_set_the_qos_of_each_output(node_with):
    set_by_user = (
        "qos_overrides./vpr/matches.publisher.reliability",
        "qos_overrides./vpr/keyframes.publisher.durability",
    )
    node = node_with(dict(zip(set_by_user, ("best_effort", "volatile"), strict=True)))
    publishers = Publishers(node)
    for _ in range(2):  # again after a deactivate
        publishers.start()
        found = {name: node.get_publishers_info_by_topic(f"/vpr/{name}")[0].qos_profile for name in TOPICS}
        assert found["matches"].reliability == ReliabilityPolicy.BEST_EFFORT
        assert found["keyframes"].durability == DurabilityPolicy.VOLATILE
        assert found["pose"].reliability == ReliabilityPolicy.RELIABLE
        assert found["vision_info"].durability == DurabilityPolicy.TRANSIENT_LOCAL
        publishers.stop()
    declared = [name for name in node.get_parameters_by_prefix("qos_overrides")]
    assert sorted(f"qos_overrides.{name}" for name in declared) == sorted(set_by_user)
    assert TOPICS["matches"][1].reliability == ReliabilityPolicy.RELIABLE  # the next node has the default


def test_users_set_the_qos_of_each_input(node_with):
    """By the name after remapping; a reliability of theirs no longer follows the publishers."""
    prefix = "qos_overrides./front/image.subscription"
    node = node_with({f"{prefix}.reliability": "reliable", f"{prefix}.depth": 2}, image="/front/image")
    image = TopicInput(node, Image, "image", print, "auto", 5)
    for _ in range(2):
        image.start()
        assert image.reliable and image.qos.depth == 2
        publisher = node.create_publisher(
            Image, "/front/image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        )
        wait_until(lambda: node.count_publishers("/front/image") == 1)
        image.follow()
        (found,) = node.get_subscriptions_info_by_topic("/front/image")
        assert found.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        node.destroy_publisher(publisher)
        image.stop()
    odom = TopicInput(node, Odometry, "odom", print, "auto", 200)
    odom.start()
    assert not odom.reliable and odom.qos.depth == 200
    odom.stop()


@pytest.mark.parametrize("value", ["best", 3])
def test_a_qos_of_an_input_that_does_not_exist_is_one_sentence(node_with, value):
    node = node_with({"qos_overrides./points.subscription.reliability": value})
    points = TopicInput(node, PointCloud2, "points", print, "auto", 2)
    with pytest.raises(VprError, match="qos_overrides./points holds a value that is no QoS"):
        points.start()
    points.stop()


@pytest.mark.parametrize(("policy", "value"), [("reliability", "best"), ("depth", "many"), ("depth", -1)])
def test_a_qos_that_does_not_exist_is_one_sentence(node_with, policy, value):
    publishers = Publishers(node_with({f"qos_overrides./vpr/pose.publisher.{policy}": value}))
    with pytest.raises(VprError, match="qos_overrides./vpr/pose.* is no QoS"):
        publishers.start()
    publishers.stop()


def test_publishing_after_a_shutdown_is_silent_with_a_reason(bench):
    bench.outputs.start()
    bench.context.shutdown()
    send(bench, answer(ACCEPTED), POSE, initial=True)
    bench.outputs.publish_keyframes()
    bench.outputs.publish_vision_info()
    assert "shut down" in bench.outputs.publishers.silence


def test_every_topic_is_heard_here():
    assert {name: kind for name, (kind, _) in TOPICS.items()} == KINDS
