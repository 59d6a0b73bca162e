"""The three examples as programs on a real middleware; a robot plays camera, odometry, the node vpr and AMCL."""

import re
import sys
import threading
import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from ros_process import Process
from ros_robot import SECOND_NS, odometry, qos, stamp_of, wait_until
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from vpr_ros.geometry import invert, planar_transform
from vpr_ros.nodes.outputs.messages import header_of, loop_candidate, stamped_pose

START_NS = 1_790_000_000 * SECOND_NS + 123_456_789
PERIOD_NS = 100_000_007  # a camera whose stamps have every digit


@pytest.fixture(scope="module")
def robot():
    from ros_robot import Robot

    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture
def place(request):
    """A namespace for each test: what the last one left behind is not heard."""
    return "/" + re.sub("[^a-z_]", "", request.node.name)


@pytest.fixture
def start(place, tmp_path, programs):
    """Starts an example by its name, with parameters and remaps as on the command line."""

    def start_example(name, *arguments):
        module = {"loop_closure_example": "loop_closure", "pose_graph_example": "pose_graph"}.get(name, name)
        code = f"import sys; from vpr_ros.nodes.examples.{module} import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "--ros-args", "-r", f"__ns:={place}"]
        programs.append(Process([*command, *arguments], tmp_path / f"{len(programs)}.log"))
        return programs[-1]

    return start_example


# Loop closures


class Drive:
    """Once around a circle of 20 m: 60 images with odometry between them, and what vpr would say."""

    def __init__(self, robot, place):
        self.robot = robot
        self.constraints = robot.listen(f"{place}/loop_closure_example/constraint", Path)
        self.verified = robot.listen(f"{place}/loop_closure_example/verified_constraint", Path)
        self._frames = robot.publisher(f"{place}/camera_info", CameraInfo, qos(1000))
        self._odom = robot.publisher(f"{place}/odom", Odometry, qos(1000))
        self.candidates = robot.publisher(f"{place}/lio_loop/loop_closure_detection", Float64MultiArray)
        self.closures = robot.publisher(f"{place}/loop_closure", PoseWithCovarianceStamped)
        self.keyframes = robot.publisher(f"{place}/keyframes", Path, qos(1, latched=True))
        for publisher in (self._frames, self._odom, self.candidates, self.closures, self.keyframes):
            robot.until_heard(publisher, 30.0)
        time.sleep(0.2)  # the publisher knows of the listener a moment before the listener hears it

    def go(self, first, last):
        for i in range(first, last + 1):
            self.image(i)
            self.odometry(i)
            time.sleep(0.002)

    @staticmethod
    def stamp(i):
        return START_NS + i * PERIOD_NS

    @staticmethod
    def pose(i):
        angle = 2 * np.pi * i / 60
        return planar_transform(20 * np.cos(angle), 20 * np.sin(angle), angle + np.pi / 2)

    def image(self, i):
        self._frames.publish(CameraInfo(header=header_of(self.stamp(i), "camera")))

    def odometry(self, i):
        for part in (-0.5, 0.5):  # never at an image's own time
            self._odom.publish(odometry(self.stamp(i) + int(part * PERIOD_NS), self.pose(i + part)))


@pytest.fixture
def loops(robot, place, start):
    def start_drive(*parameters):
        arguments = ["-r", "loop_candidate:=lio_loop/loop_closure_detection", "-p", "frames:=camera_info", *parameters]
        return start("loop_closure_example", *arguments), Drive(robot, place)

    return start_drive


def test_candidates_become_constraints_between_the_exact_stamps(loops):
    process, drive = loops()
    drive.go(0, 59)
    drive.candidates.publish(loop_candidate(drive.stamp(59), drive.stamp(1)))
    (path,) = drive.constraints.wait()
    assert [stamp_of(pose) for pose in path.poses] == [drive.stamp(1), drive.stamp(59)]
    assert path.header.frame_id == "odom"
    for pose, i in zip(path.poses, (1, 59), strict=True):
        expected = drive.pose(i)[:2, 3]
        assert np.hypot(pose.pose.position.x - expected[0], pose.pose.position.y - expected[1]) < 0.2

    # A stamp that is nobody's, and one that is 2 us off, are counted and named.
    drive.candidates.publish(loop_candidate(drive.stamp(59), drive.stamp(7) + 5000))
    drive.candidates.publish(Float64MultiArray(data=[1.0]))
    wait_until(lambda: "not joined" in process.log and "two times" in process.log)
    assert "the own keyframe nearest to" in process.log and "5." in process.log
    assert len(drive.constraints) == 1

    seconds, status = process.interrupt()
    assert status == 0 and seconds < 5.0
    assert "Traceback" not in process.log
    assert "1 joined, 1 unmatched" in process.log


def test_a_candidate_that_comes_before_its_odometry_waits_for_it(loops):
    process, drive = loops()
    drive.go(0, 19)
    drive.image(20)
    drive.candidates.publish(loop_candidate(drive.stamp(20), drive.stamp(2)))
    with pytest.raises(AssertionError):
        drive.constraints.wait(timeout_s=1.0)
    drive.odometry(20)
    (path,) = drive.constraints.wait()
    assert [stamp_of(pose) for pose in path.poses] == [drive.stamp(2), drive.stamp(20)]
    assert "not joined" not in process.log


def test_keyframes_by_distance_leave_candidates_unmatched_and_say_how_far(loops):
    process, drive = loops("-p", "keyframe_distance_m:=5.0")
    drive.go(0, 29)
    drive.candidates.publish(loop_candidate(drive.stamp(29), drive.stamp(0)))
    wait_until(lambda: "not joined" in process.log)
    assert not len(drive.constraints)


def test_a_registered_loop_is_turned_into_odometrys_frame(loops):
    process, drive = loops()
    message = Path()
    for i in (0, 10):
        message.poses.append(stamped_path_pose(drive, i))
    drive.keyframes.publish(message)
    drive.go(0, 59)
    T_keyframe_query = planar_transform(1.0, 0.5, 0.1)
    for name in ("other/3", "map/10"):
        drive.closures.publish(stamped_pose(T_keyframe_query, np.eye(6), drive.stamp(59), name))
    (path,) = drive.verified.wait()
    assert [stamp_of(pose) for pose in path.poses] == [drive.stamp(10), drive.stamp(59)]
    expected = drive.pose(10) @ T_keyframe_query
    p = path.poses[1].pose.position
    assert np.hypot(p.x - expected[0, 3], p.y - expected[1, 3]) < 0.2
    wait_until(lambda: "m off" in process.log)
    assert "not two own keyframes" in process.log


def stamped_path_pose(drive, i):
    from vpr_ros.nodes.outputs.messages import PoseStamped, pose_of

    return PoseStamped(header=header_of(drive.stamp(i), f"map/{i}"), pose=pose_of(drive.pose(i)))


def test_a_choice_that_is_none_is_refused_in_one_sentence(start):
    process = start("loop_closure_example", "-p", "frames:=picture")
    assert process.wait() == 2
    assert "frames must be one of" in process.log and "Traceback" not in process.log


# The pose graph


class DriftingDrive:
    """Twice round a circle of 20 m with odometry that drifts, and the loops that vpr would have verified."""

    def __init__(self, robot, place):
        self.paths = robot.listen(f"{place}/pose_graph_example/path", Path, qos(1, latched=True))
        self._odom = robot.publisher(f"{place}/odom", Odometry, qos(1000))
        self._closures = robot.publisher(f"{place}/loop_closure", PoseWithCovarianceStamped)
        self._keyframes = robot.publisher(f"{place}/keyframes", Path, qos(1, latched=True))
        for publisher in (self._odom, self._closures, self._keyframes):
            robot.until_heard(publisher, 30.0)
        time.sleep(0.2)
        self.true = np.array([Drive.pose(i) for i in range(121)])
        self.odometry = [self.true[0]]
        for before, after in zip(self.true[:-1], self.true[1:], strict=True):
            self.odometry.append(self.odometry[-1] @ invert(before) @ after @ planar_transform(0.0, 0.0, 0.004))

    def go(self):
        for i, T in enumerate(self.odometry):
            self._odom.publish(odometry(Drive.stamp(i), T))
            time.sleep(0.002)
        path = Path(poses=[stamped_path_pose(Drive, i) for i in range(0, 121, 5)])
        self._keyframes.publish(path)

    def close_loop(self, keyframe, query, wrong=False):
        T = invert(self.true[keyframe]) @ self.true[query] if not wrong else planar_transform(3.0, -2.0, 0.4)
        covariance = np.diag([0.03**2] * 3 + [0.003**2] * 3)
        self._closures.publish(stamped_pose(T, covariance, Drive.stamp(query), f"map/{keyframe}"))


def test_the_pose_graph_straightens_a_drive_and_is_not_bent_by_a_false_loop(robot, place, start):
    pytest.importorskip("gtsam")
    process = start("pose_graph_example", "-p", "every_loops:=13", "-p", "spacing_m:=2.0")
    drive = DriftingDrive(robot, place)
    drive.go()
    for keyframe in range(0, 60, 5):
        drive.close_loop(keyframe, keyframe + 61)
    drive.close_loop(30, 100, wrong=True)
    path = drive.paths.wait()[-1]
    assert path.header.frame_id == "map" and len(path.poses) > 60
    numbers = [round((stamp_of(pose) - START_NS) / PERIOD_NS) for pose in path.poses]
    at = np.array([(pose.pose.position.x, pose.pose.position.y) for pose in path.poses])
    after = np.linalg.norm(at - drive.true[numbers, :2, 3], axis=1)
    before = np.linalg.norm(np.array(drive.odometry)[numbers, :2, 3] - drive.true[numbers, :2, 3], axis=1)
    assert before.max() > 4.0 and after.max() < 0.35 * before.max()
    wait_until(lambda: "12 of 13 loops are trusted" in process.log, 15.0, "what became of the loops")
    # A keyframe that is not in `keyframes` yet may still come.
    drive.close_loop(-5, 118)
    time.sleep(0.5)
    seconds, status = process.interrupt()
    assert status == 0 and seconds < 5.0 and "Traceback" not in process.log
    assert "13 loops, 0 with another drive, 1 open" in process.log


# The handover to AMCL


class Localization:
    """The node vpr and AMCL, as far as the handover sees them."""

    def __init__(self, robot, place, amcl=True):
        self.robot, self.calls, self.poses = robot, 0, []
        self.refuse, self.asked = False, threading.Event()
        robot.node.create_service(Trigger, f"{place}/vpr/relocalize", self._relocalize)
        self.publisher = robot.publisher(f"{place}/vpr/initial_pose", PoseWithCovarianceStamped, qos(1))
        self.amcl = robot.listen(f"{place}/initialpose", PoseWithCovarianceStamped) if amcl else None

    def _relocalize(self, request, response):
        self.calls += 1
        response.success, response.message = not self.refuse, "mode 'map' recognises nothing"
        self.asked.set()
        return response

    def answer(self, frame="map", std_m=5.0, times=1):
        assert self.asked.wait(30.0)
        self.asked.clear()
        pose = stamped_pose(planar_transform(3.0, 4.0, 0.5), np.eye(6) * std_m**2, START_NS, frame)
        for _ in range(times):
            self.publisher.publish(pose)
        return pose


@pytest.fixture
def handover(start):
    return lambda *arguments: start("amcl_handover", *arguments)


def test_one_pose_is_handed_over_unchanged_and_once(robot, place, handover):
    localization = Localization(robot, place)
    process = handover()
    sent = localization.answer(times=3)
    assert process.wait() == 0
    assert localization.amcl.wait() == [sent]
    assert localization.calls == 1
    assert "handed over: x 3.00 m, y 4.00 m" in process.log and "Traceback" not in process.log


def test_it_asks_only_when_amcl_listens(robot, place, handover):
    localization = Localization(robot, place, amcl=False)
    process = handover()
    wait_until(lambda: "is AMCL running" in process.log, 30.0)
    assert localization.calls == 0
    late = robot.listen(f"{place}/initialpose", PoseWithCovarianceStamped)
    localization.answer()
    assert process.wait() == 0 and len(late.wait()) == 1


def test_a_pose_in_another_frame_is_not_handed_over(robot, place, handover):
    localization = Localization(robot, place)
    process = handover("-p", "map_frame:=yard")
    localization.answer(frame="map")
    assert process.wait() == 1
    assert "its map has 'yard'" in process.log and not len(localization.amcl)


def test_a_vague_pose_is_asked_for_again(robot, place, handover):
    localization = Localization(robot, place)
    process = handover("-p", "max_std_m:=1.0")
    localization.answer(std_m=5.0)
    sharp = localization.answer(std_m=0.3)
    assert process.wait() == 0
    assert localization.amcl.wait() == [sharp] and localization.calls == 2
    assert "too vague" in process.log


def test_a_refusal_ends_it_with_the_reason(robot, place, handover):
    localization = Localization(robot, place)
    localization.refuse = True
    process = handover()
    assert process.wait() == 1
    assert "recognises nothing" in process.log and not len(localization.amcl)


def test_nobody_there_ends_at_the_timeout(handover):
    process = handover("-p", "timeout_s:=1.0")
    assert process.wait() == 1
    assert "no pose was handed over in 1 s" in process.log and "/vpr/relocalize is not there" in process.log


def test_ctrl_c_while_it_waits_is_no_error(handover):
    process = handover()
    wait_until(lambda: "waiting: the service" in process.log, 30.0)
    seconds, status = process.interrupt()
    assert status == 0 and seconds < 5.0 and "Traceback" not in process.log


@pytest.mark.parametrize(
    ("name", "typo", "meant"),
    [
        ("amcl_handover", "max_stdm:=2.0", "max_std_m"),
        ("loop_closure_example", "keyframe_distance:=3.0", "keyframe_distance_m"),
        ("pose_graph_example", "spacing:=3.0", "spacing_m"),
    ],
)
def test_a_parameter_that_an_example_does_not_have_is_named(start, name, typo, meant):
    program = start(name, "-p", typo)
    wait_until(lambda: f"has no effect: is {meant} meant?" in program.log, 30, "the sentence")
