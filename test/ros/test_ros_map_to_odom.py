"""map -> odom in TF: from verified poses on a real middleware, silent while inactive, and never beside another one."""

import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from ros_drives import IMAGE, INFO, ODOM, POINTS, first_drive, second_drive
from ros_process import play
from ros_robot import SECOND_NS, Robot, qos, stamp_of, transform, wait_until
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage

from vpr_ros.errors import VprError
from vpr_ros.geometry import interpolate, invert, planar_transform, turn_between, yaw_of
from vpr_ros.nodes.map_to_odom.broadcaster import MapToOdomBroadcaster
from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.map_to_odom.config import MapToOdomConfig
from vpr_ros.sensors.poses.trajectory import rigid

T_MAP_ODOM = planar_transform(10.0, 5.0, 0.5)
COVARIANCE = np.diag([0.1, 0.1, 0.1, 0.01, 0.01, 0.01]) ** 2
REMAPS = {"image/compressed": IMAGE, "odom": ODOM, "points": POINTS, "camera_info": INFO}


def links_to(heard, child):
    return [link for message in list(heard.messages) for link in message.transforms if link.child_frame_id == child]


def fixed(robot, parent, child):
    """Publishes a fixed link, as static_transform_publisher does."""
    publisher = robot.publisher("/tf_static", TFMessage, qos(1, latched=True))
    publisher.publish(TFMessage(transforms=[transform(0, parent, child, np.eye(4))]))


@pytest.fixture
def host():
    host = Robot("localiser")
    yield host
    host.close()


@pytest.fixture
def make(host):
    """Broadcasters of map -> odom for a robot that stands at the origin of odometry."""
    made = []

    def broadcaster():
        made.append(
            MapToOdomBroadcaster(
                host.node, MapToOdomConfig(), "map", "/odom", "base_link", Health(), lambda: planar_transform(0, 0, 0)
            )
        )
        return made[-1]

    yield broadcaster
    for one in made:
        one.stop()
        one.close()


def see(broadcaster, begin_s=0.0, frames=3):
    for i in range(frames):
        stamp = round((begin_s or time.time()) * 1e9) + i * SECOND_NS // 10
        broadcaster.take(stamp, np.eye(4), (T_MAP_ODOM, COVARIANCE))


def test_it_publishes_ahead_of_now_from_the_first_fix_on_and_only_between_start_and_stop(make, robot, host):
    heard = robot.listen("/tf", TFMessage)
    broadcaster = make()
    broadcaster.open()
    broadcaster.take(time.time_ns(), np.eye(4), (T_MAP_ODOM, COVARIANCE))
    broadcaster.start()
    robot.until_heard(broadcaster._broadcaster.pub_tf)
    time.sleep(0.3)
    assert not links_to(heard, "odom") and broadcaster.status()[0].state == "waiting"
    see(broadcaster)
    wait_until(lambda: len(links_to(heard, "odom")) >= 12)
    first, *_, last = links_to(heard, "odom")
    assert (first.header.frame_id, first.child_frame_id) == ("map", "odom")
    assert np.allclose(rigid(last.transform.translation, last.transform.rotation), T_MAP_ODOM, atol=1e-6)
    stamps = np.array([stamp_of(link) for link in links_to(heard, "odom")])
    assert (np.diff(stamps) > 0).all() and np.median(np.diff(stamps)) < SECOND_NS / 10
    assert 0.0 < (stamps[-1] - heard.arrivals_ns[-1]) / SECOND_NS <= 0.3
    # What comes without a pose is held, and still stamped.
    count = len(heard)
    broadcaster.take(time.time_ns(), None, None)
    heard.wait(count + 10)
    assert broadcaster.status()[0].state == "held" and broadcaster.refused == ""
    broadcaster.stop()
    time.sleep(0.2)
    count = len(heard)
    see(broadcaster)
    time.sleep(0.3)
    assert len(heard) == count
    broadcaster.start()
    robot.until_heard(broadcaster._broadcaster.pub_tf)
    time.sleep(0.3)
    assert len(heard) == count  # it begins anew, with a first fix


def test_it_refuses_beside_a_link_that_moves_and_one_that_is_fixed(make, robot):
    publisher = robot.publisher("/tf", TFMessage)
    timer = robot.node.create_timer(
        0.1, lambda: publisher.publish(TFMessage(transforms=[transform(time.time_ns(), "map", "odom", np.eye(4))]))
    )
    with pytest.raises(VprError, match=r"refused: /tf already has map -> odom .*\(/robot\): end that one"):
        make().open()
    robot.node.destroy_timer(timer)
    # Another parent of the same frame is no better.
    mapper = Robot("mapper")
    fixed(mapper, "earth", "odom")
    with pytest.raises(VprError, match=r"refused: /tf_static already has earth -> odom"):
        make().open()
    mapper.close()
    robot.publisher("/tf", TFMessage)  # someone who publishes other links
    fixed(robot, "base_link", "camera")
    make().open()


def test_it_stops_when_another_one_appears_and_refuses_to_start_again(make, robot, host):
    heard = robot.listen("/tf", TFMessage)
    publisher = robot.publisher("/tf", TFMessage)
    broadcaster = make()
    broadcaster.open()
    broadcaster.start()
    see(broadcaster)
    wait_until(lambda: len(links_to(heard, "odom")) >= 3)
    robot.until_heard(publisher)
    publisher.publish(TFMessage(transforms=[transform(time.time_ns(), "map", "odom", np.eye(4))]))
    wait_until(lambda: broadcaster.refused)
    assert broadcaster.refused.startswith("publish_tf has stopped: /tf already has map -> odom")
    time.sleep(0.2)
    count = len(heard)
    see(broadcaster)
    time.sleep(0.3)
    assert len(heard) == count
    broadcaster.stop()
    with pytest.raises(VprError, match="publish_tf is refused"):
        broadcaster.start()


def test_it_follows_simulated_time_and_begins_anew_when_the_clock_goes_back(make, robot, host):
    host.node.set_parameters([Parameter("use_sim_time", value=True)])
    heard, clock = robot.listen("/tf", TFMessage), robot.publisher("/clock", Clock)
    robot.until_heard(clock)

    def run(begin_s, seconds):
        for i in range(round(seconds * 50)):
            now = round((begin_s + i / 50) * SECOND_NS)
            clock.publish(Clock(clock=Time(sec=now // SECOND_NS, nanosec=now % SECOND_NS)))
            time.sleep(0.01)

    broadcaster = make()
    broadcaster.open()
    broadcaster.start()
    see(broadcaster, 1000.0)
    time.sleep(0.2)
    assert not links_to(heard, "odom")  # no clock has come: there is no time to stamp with
    run(1000.0, 1.0)
    stamps = [stamp_of(link) for link in links_to(heard, "odom")]
    assert len(stamps) >= 5 and 1000.3 * SECOND_NS <= min(stamps) and max(stamps) <= 1001.3 * SECOND_NS
    time.sleep(0.2)
    stands = len(links_to(heard, "odom"))
    time.sleep(0.3)
    assert len(links_to(heard, "odom")) == stands  # nothing is stamped twice
    run(500.0, 0.4)
    assert broadcaster.status()[0].state == "waiting" and len(links_to(heard, "odom")) == stands
    see(broadcaster, 500.3)
    run(500.4, 0.5)
    assert max(stamp_of(link) for link in links_to(heard, "odom")[stands:]) <= 501.2 * SECOND_NS


def test_the_node_localises_a_drive_and_says_how_it_stands(start, robot, programs, drives, first_map, tmp_path):
    pytest.importorskip("small_gicp")
    heard = robot.listen("/tf", TFMessage)
    node = start(
        map_path=first_map, compressed=True, verify="lidar", publish_tf=True, use_sim_time=True, remaps=REMAPS
    ).up()
    assert node.until_health("tf", lambda h: h.values).values["state"] == "waiting"
    programs.append(play(drives["lap"], tmp_path / "play.log", "--clock", "100", "--delay", "1", rate=0.5))
    assert programs[0].wait(60) == 0
    status = node.health("tf")
    assert status.number("first fix") == 1 and status.number("used") > 3, status
    sent = [(stamp_of(link), link) for link in links_to(heard, "odom")]
    assert sent and {link.header.frame_id for _, link in sent} == {"map"}
    stamps = np.array([stamp for stamp, _ in sent])
    poses = [rigid(link.transform.translation, link.transform.rotation) for _, link in sent]
    drive, errors = second_drive(), []
    with PlaceMap.open(first_map) as place_map:
        keyframes = place_map.poses()
    # The map lives in the first drive's odometry, with its drift: where the robot is, it is beside the next keyframe.
    world = dict(zip(first_drive().stamps_ns.tolist(), first_drive().T_map_base, strict=True))
    mapped = [(T, world[stamp]) for T, stamp in zip(keyframes.T_map_base, keyframes.stamps_ns.tolist(), strict=True)]
    odometry = {stamp_of(link): link for link in links_to(heard, "base_link")}
    for stamp, T_map_base in zip(drive.stamps_ns.tolist(), drive.T_map_base, strict=True):
        after = int(np.searchsorted(stamps, stamp))
        if 0 < after < len(stamps) and stamp in odometry:
            share = (stamp - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
            link = odometry[stamp].transform
            T_map, T_world = min(mapped, key=lambda pair: np.linalg.norm(pair[1][:3, 3] - T_map_base[:3, 3]))
            truth = T_map @ invert(T_world) @ T_map_base
            seen = interpolate(*poses[after - 1 : after + 1], share) @ rigid(link.translation, link.rotation)
            errors.append((np.linalg.norm((seen - truth)[:2, 3]), turn_between(yaw_of(seen), yaw_of(truth))))
    metres, radians = np.array(errors).T
    print(f"\n{len(errors)} poses: {np.median(metres):.3f} m, {np.degrees(np.median(radians)):.2f} degrees\n{status}")
    assert len(errors) > 10 and np.median(metres) < 0.3 and np.median(radians) < 0.02
    assert node.deactivate()
    count = len(links_to(heard, "odom"))
    time.sleep(0.3)
    assert len(links_to(heard, "odom")) == count
    # Another localisation has taken over: the node must not come up beside it.
    fixed(robot, "map", "odom")
    wait_until(lambda: not node.activate() or not node.deactivate(), 10)
    assert "publish_tf is refused: /tf_static already has map -> odom" in node.log
    assert node.cleanup() and not node.configure()
    assert "publish_tf is refused" in node.health("map").message or "publish_tf is refused" in node.log


def test_what_it_cannot_work_with_is_refused_in_one_sentence(start, first_map):
    node = start(map_path=first_map, publish_tf=True)
    assert not node.configure()
    assert "publish_tf uses verified poses only, and verify is none" in node.log
    assert node.set(publish_tf=False, verify="lidar", odom_source="none") == ["", "", ""]
    assert "odom_source is 'none'" in node.set(publish_tf=True)[0]
    assert node.set(odom_source="auto", mode="slam") == ["", ""]
    assert "mode 'slam' writes one" in node.set(publish_tf=True)[0]
