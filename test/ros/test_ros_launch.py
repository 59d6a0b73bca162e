"""The launch files of the installed package: with a bag from its first to its last image, and live on a robot."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("launch_ros")

from rcl_interfaces.srv import GetParameters
from ros_process import Process
from ros_robot import stamp_of, wait_until
from vision_msgs.msg import Detection3D

from vpr_ros.place_map import PlaceMap


@pytest.fixture
def launch(tmp_path, programs, monkeypatch):
    """Starts `ros2 launch vpr_ros FILE.launch.py NAME:=VALUE ...` of the installed package."""
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        get_package_share_directory("vpr_ros")
    except PackageNotFoundError:
        pytest.skip("vpr_ros is not installed in this ROS: build it with colcon and source the workspace")
    # The launch files look into bags with the python3 of the environment.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")

    def start(file, **arguments):
        command = ["ros2", "launch", "vpr_ros", f"{file}.launch.py"]
        command += [f"{name}:={value}" for name, value in arguments.items() if value != ""]
        programs.append(Process(command, tmp_path / f"launch{len(programs)}.log"))
        return programs[-1]

    return start


def parameter_file(path, **values):
    path.write_text("/**:\n  ros__parameters:\n" + "".join(f"    {name}: {value}\n" for name, value in values.items()))
    return path


def parameters(robot, node, *names):
    answer = robot.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=list(names)))
    fields = {1: "bool_value", 2: "integer_value", 3: "double_value", 4: "string_value"}
    return [getattr(value, fields[value.type]) for value in answer.values]


# With a bag


def test_a_drive_becomes_a_map_and_the_launch_ends_by_itself(launch, drives, tmp_path):
    log = tmp_path / "stamps.txt"
    run = launch(
        "map",
        bag=drives["first"],
        map=tmp_path / "town.vpr",
        rate=4,
        params_file=parameter_file(tmp_path / "own.yaml", stamps_log=log, threads=1),
    )
    assert run.wait(60) == 0, run.log
    assert "process has died" not in run.log
    frames = len(log.read_text().split())
    with PlaceMap.open(tmp_path / "town.vpr") as place_map:
        keyframes = place_map.keyframes()
        assert frames / 4 < len(keyframes) <= frames
    assert not (tmp_path / "town.vpr-wal").exists()  # closed, not killed


def test_two_localizers_in_two_namespaces_answer_every_frame_of_one_bag(launch, drives, first_map, robot, tmp_path):
    heard = {name: robot.listen(f"/{name}/vpr/matches", Detection3D) for name in ("front", "rear")}
    logs = {name: tmp_path / f"{name}.txt" for name in heard}
    files = {name: parameter_file(tmp_path / f"{name}.yaml", stamps_log=logs[name], threads=1) for name in heard}
    rear = launch(
        "localize",
        namespace="rear",
        map=first_map,
        params_file=files["rear"],
        use_sim_time="true",
        image_topic="/camera/image/compressed",
        odom_topic="/odom",
    )
    front = launch(
        "localize", namespace="front", map=first_map, params_file=files["front"], bag=drives["lap"], rate=0.8
    )
    assert front.wait(90) == 0, front.log
    _, status = rear.interrupt()
    assert status == 0, rear.log
    answered = {name: {int(line) for line in logs[name].read_text().split()} for name in heard}
    assert len(answered["front"]) == 40, front.log
    for name in heard:
        assert {stamp_of(msg) for msg in heard[name].messages} == answered[name]
        assert sum(bool(msg.id) for msg in heard[name].messages) > 20  # accepted


def test_a_map_that_cannot_be_read_ends_the_launch_with_the_sentence_of_the_node(launch, drives, tmp_path):
    (tmp_path / "broken.vpr").write_text("this is no map")
    run = launch("localize", bag=drives["second"], map=tmp_path / "broken.vpr")
    assert run.wait(60) == 1
    assert "it is not a place map" in run.log and "could not be configured" in run.log
    assert "bag-2" not in run.log  # never played


@pytest.mark.parametrize(
    ("file", "arguments", "sentence"),
    [
        ("localize", {"map": "nowhere.vpr"}, "map:=nowhere.vpr does not exist"),
        ("map", {"map": "/tmp/x.vpr", "bag": "nowhere"}, "bag:=nowhere does not exist"),
        ("record", {}, "say output:=PATH"),
        ("localize", {"map": "town.vpr", "bagg": "x"}, "localize.launch.py has no argument 'bagg': is bag meant?"),
        (
            "map",
            {"map": "/tmp/x.vpr", "image_topics": "x"},
            "map.launch.py has no argument 'image_topics': is image_topic",
        ),
        ("record", {"output": "/tmp/x", "outptu": "x"}, "record.launch.py has no argument 'outptu': is output meant?"),
        ("map", {"map": "/tmp/x.vpr", "bag": "x", "respawn": "true"}, "respawn:=true is for a robot"),
    ],
)
def test_what_is_missing_is_said_at_once(launch, file, arguments, sentence):
    run = launch(file, **arguments)
    assert run.wait(30) == 1
    assert sentence in run.log and "Traceback" not in run.log and "process started" not in run.log
    assert "Caught exception" not in run.log


def test_a_ros_1_bag_is_refused_with_the_command_that_converts_it(launch, tmp_path):
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    run = launch("map", map=tmp_path / "town.vpr", bag=tmp_path / "old.bag")
    assert run.wait(30) == 1
    assert f"rosbags-convert --src {tmp_path / 'old.bag'} --dst {tmp_path / 'old'}" in run.log


# On a robot


@pytest.mark.parametrize(("namespace", "section"), [("", "/**"), ("", "vpr"), ("fleet/robot1", "/fleet/robot1/vpr")])
def test_arguments_win_over_the_file_which_wins_over_the_defaults(
    launch, robot, first_map, tmp_path, namespace, section
):
    file = tmp_path / "own.yaml"
    file.write_text(f"{section}:\n  ros__parameters:\n    map_path: nowhere.vpr\n    device: cuda:7\n    top_k: 7\n")
    launch("localize", map=first_map, device="cpu", params_file=file, autostart="false", namespace=namespace)
    node = f"/{namespace}/vpr".replace("//", "/")
    names = ("map_path", "device", "top_k", "max_places", "mode", "use_sim_time")
    assert parameters(robot, node, *names) == [str(first_map), "cpu", 7, 10, "localize", False]
    assert robot.state(node) == "unconfigured"


def test_ctrl_c_ends_everything_cleanly(launch, robot, first_map):
    run = launch("localize", map=first_map, image_topic="/camera/image", odom_topic="/wheel/odometry")
    wait_until(lambda: robot.state("/vpr") == "active", 30, "the node to become active")
    for topic in ("/camera/image", "/wheel/odometry"):
        wait_until(lambda topic=topic: robot.node.count_subscribers(topic), 10, f"a listener on {topic}")
    _, status = run.interrupt()
    assert status == 0, run.log
    assert "process has died" not in run.log and "SIGTERM" not in run.log and "Traceback" not in run.log


def test_a_node_that_could_not_be_configured_waits_for_better_parameters(launch, robot, tmp_path):
    (tmp_path / "broken.vpr").write_text("this is no map")
    run = launch("localize", map=tmp_path / "broken.vpr")
    wait_until(lambda: "correct its parameters and configure it again" in run.log, 30, "the sentence of the launch")
    assert robot.state("/vpr") == "unconfigured"
    assert "it is not a place map" in run.log


def test_a_map_is_changed_by_hand_without_the_launch_interfering(launch, robot, first_map):
    launch("localize", map=first_map)
    wait_until(lambda: robot.state("/vpr") == "active", 30, "the node to become active")
    for transition, state in (("deactivate", "inactive"), ("cleanup", "unconfigured"), ("configure", "inactive")):
        assert robot.change("/vpr", transition)
        assert robot.state("/vpr") == state
    assert robot.change("/vpr", "activate")


def test_a_launch_file_that_includes_this_one_keeps_its_own_arguments(launch, robot, first_map, programs, tmp_path):
    file = tmp_path / "robot.launch.py"
    file.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription\n"
        "from launch.substitutions import LaunchConfiguration, PathJoinSubstitution\n"
        "from launch_ros.substitutions import FindPackageShare\n"
        "def generate_launch_description():\n"
        "    file = PathJoinSubstitution([FindPackageShare('vpr_ros'), 'launch', 'localize.launch.py'])\n"
        "    arguments = {'map': LaunchConfiguration('town'), 'image_topics': '/camera'}\n"
        "    return LaunchDescription([DeclareLaunchArgument('town'), DeclareLaunchArgument('speed'),\n"
        "        IncludeLaunchDescription(file, launch_arguments=arguments.items())])\n"
    )
    programs.append(Process(["ros2", "launch", file, f"town:={first_map}", "speed:=2"], tmp_path / "parent.log"))
    wait_until(lambda: robot.state("/vpr") == "active", 30, "the node to become active")
    assert "localize.launch.py has no argument 'image_topics': is image_topic meant?" in programs[0].log
    assert "speed" not in programs[0].log


def pid_of_the_node(run):
    return int(re.findall(r"vpr_node-1.*started with pid \[(\d+)\]", run.log)[-1])


def test_a_node_that_dies_ends_the_launch_with_an_error(launch, robot, first_map):
    run = launch("localize", map=first_map)
    wait_until(lambda: robot.node.get_node_names().count("vpr"), 30, "the node")
    os.kill(pid_of_the_node(run), signal.SIGKILL)
    assert run.wait(20) == 1
    assert "node vpr was ended from outside or has crashed (SIGKILL, exit code -9)" in run.log
    assert "Caught exception" not in run.log and "Traceback" not in run.log


def test_a_node_that_dies_is_started_again_and_answers_where_that_was_asked_for(launch, robot, first_map):
    """It is led to its active state each time, though the dead one's services are still listed; by hand it stays as it
    was put."""
    run = launch("localize", map=first_map, respawn="true")
    for life in (1, 2):
        wait_until(lambda life=life: run.log.count("process started") == life, 30, f"life {life}")
        wait_until(lambda life=life: run.log.count("mode localize, map") == life, 30, f"life {life} configured")
        wait_until(lambda: robot.node.count_publishers("/vpr/matches"), 30, "a node that answers")
        if life == 1:
            os.kill(pid_of_the_node(run), signal.SIGKILL)
            wait_until(lambda: "it starts again in 2 s" in run.log, 20, "the launch to notice")
    wait_until(lambda: robot.state("/vpr") == "active", 30, "the second life to become active")
    assert robot.change("/vpr", "deactivate") and robot.state("/vpr") == "inactive"
    _, status = run.interrupt()
    assert status == 0 and "process started" in run.log and run.log.count("process started") == 2, run.log


def test_without_autostart_every_transition_is_somebody_elses(launch, robot, first_map):
    launch("localize", map=first_map, autostart="false")
    assert robot.state("/vpr") == "unconfigured"
    assert robot.change("/vpr", "configure") and robot.state("/vpr") == "inactive"
    assert robot.change("/vpr", "activate")
