"""Arguments of the launch files, and what becomes of them: no ROS here."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.nodes.launching.arguments import NodeLaunch
from vpr_ros.nodes.launching.bag_topics import bag_topics, camera_info_beside
from vpr_ros.nodes.launching.command_line import check_arguments
from vpr_ros.nodes.launching.life import ending
from vpr_ros.nodes.launching.settings import launch_settings, parameters_in, topics_of_bag
from vpr_ros.nodes.launching.values import log_arguments, truth_value
from vpr_ros.runtime.parameters import documents
from vpr_ros.runtime.parameters.tables import VPR_PARAMETERS
from vpr_ros.sensors import BagWriter
from vpr_ros.sensors.bags.messages import (
    camera_info_msg,
    cloud_msg,
    compressed_image_msg,
    image_msg,
    navsat_msg,
    odometry_msg,
    pose_msg,
)

CONFIG = Path(__file__).resolve().parents[2] / "config"
EYE, PIXELS = np.eye(4), np.zeros((4, 6, 3), np.uint8)
MESSAGES = {
    "Image": lambda: image_msg(PIXELS, 1),
    "CompressedImage": lambda: compressed_image_msg(PIXELS, 1),
    "Odometry": lambda: odometry_msg(EYE, 1),
    "PoseStamped": lambda: pose_msg(EYE, 1),
    "NavSatFix": lambda: navsat_msg(48.0, 11.0, 500.0, 1),
    "PointCloud2": lambda: cloud_msg(np.zeros((3, 3), np.float32), 1),
    "CameraInfo": lambda: camera_info_msg(np.eye(3), 6, 4, 1),
}
MAP_ARGUMENTS = (
    "map",
    "mode",
    "params_file",
    "bag",
    "rate",
    "image_topic",
    "compressed",
    "points_topic",
    "odom_topic",
    "pose_topic",
    "pose_source",
    "camera_info_topic",
    "use_sim_time",
    "verify",
    "device",
    "checkpoint",
)


@pytest.fixture
def write_bag(tmp_path):
    def write(name="drive", storage="mcap", **topics):
        with BagWriter(tmp_path / name, storage) as bag:
            for topic, kind in topics.items():
                bag.write("/" + topic.replace("__", "/"), MESSAGES[kind](), 1)
        return tmp_path / name

    return write


def settings_of(tmp_path, mode="", **given):
    """The settings of map.launch.py; `map` is a file that can be made."""
    arguments = dict.fromkeys(MAP_ARGUMENTS, "")
    arguments.update({"map": str(tmp_path / "town.vpr"), "rate": "1.0", "mode": mode}, **given)
    return launch_settings(arguments, {"mode": "map"}, CONFIG, bag_topics)


def test_arguments_left_empty_change_nothing(tmp_path):
    settings = settings_of(tmp_path)
    assert settings.parameters == {"map_path": str(tmp_path / "town.vpr"), "mode": "map"}
    assert settings.remappings == [] and settings.play == [] and settings.notes == []


def test_given_arguments_become_typed_parameters(tmp_path):
    settings = settings_of(
        tmp_path, verify="auto", device="cuda:1", checkpoint="nano", use_sim_time="0", compressed="yes"
    )
    expected = {"verify": "auto", "device": "cuda:1", "checkpoint": "nano", "use_sim_time": False, "compressed": True}
    assert expected.items() <= settings.parameters.items()


def test_live_topics_are_remapped_for_raw_and_compressed_images_alike(tmp_path):
    settings = settings_of(tmp_path, image_topic="/front/image_raw", odom_topic="/odom", points_topic="/lidar")
    assert dict(settings.remappings) == {
        "image": "/front/image_raw",
        "image/compressed": "/front/image_raw",
        "camera_info": "/front/camera_info",
        "odom": "/odom",
        "points": "/lidar",
    }
    assert "compressed" not in settings.parameters


@pytest.mark.parametrize(("said", "expected"), [("", True), ("false", False)])
def test_a_name_ending_in_compressed_says_the_type_unless_told_otherwise(tmp_path, said, expected):
    settings = settings_of(tmp_path, image_topic="/front/image_raw/compressed", compressed=said)
    assert settings.parameters["compressed"] is expected
    assert ("camera_info", "/front/camera_info") in settings.remappings


@pytest.mark.parametrize(
    ("image", "info"),
    [
        ("/front/image_raw", "/front/camera_info"),
        ("/front/image_raw/compressed", "/front/camera_info"),
        ("image", "camera_info"),
        ("/image", "/camera_info"),
        ("front/image", "front/camera_info"),
    ],
)
def test_calibration_lies_beside_the_image(image, info):
    assert camera_info_beside(image) == info


def test_none_silences_odometry_and_poses(tmp_path):
    settings = settings_of(tmp_path, odom_topic="none", pose_topic="none")
    assert settings.parameters["odom_source"] == "none" and settings.parameters["pose_source"] == "none"
    assert settings.remappings == []


def test_a_live_pose_topic_needs_its_type(tmp_path):
    with pytest.raises(VprError, match="pose_source:=odometry"):
        settings_of(tmp_path, pose_topic="/pose")
    settings = settings_of(tmp_path, pose_topic="/pose", pose_source="odometry")
    assert settings.parameters["pose_source"] == "odometry" and ("pose", "/pose") in settings.remappings
    file = tmp_path / "own.yaml"
    file.write_text("vpr:\n  ros__parameters:\n    pose_source: pose\n")
    assert "pose_source" not in settings_of(tmp_path, pose_topic="/pose", params_file=str(file)).parameters


def test_a_bag_brings_time_types_and_topics(tmp_path, write_bag):
    bag = write_bag(
        cam__image__compressed="CompressedImage",
        cam__camera_info="CameraInfo",
        wheel="Odometry",
        fix="PoseStamped",
        lidar="PointCloud2",
        ground_truth__pose="PoseStamped",
    )
    settings = settings_of(tmp_path, bag=str(bag), rate="2")
    assert settings.parameters["use_sim_time"] is True and settings.parameters["compressed"] is True
    assert settings.parameters["pose_source"] == "pose"
    assert dict(settings.remappings) == {
        "image": "/cam/image/compressed",
        "image/compressed": "/cam/image/compressed",
        "odom": "/wheel",
        "pose": "/fix",
        "points": "/lidar",
        "camera_info": "/cam/camera_info",
    }
    assert settings.play[:4] == ["ros2", "bag", "play", str(bag)]
    options = dict(zip(settings.play[4::2], settings.play[5::2], strict=False))
    assert options["--clock"] == "100" and options["--rate"] == "2" and float(options["--delay"]) >= 1.0
    assert "/wheel" in settings.notes[0] and "/ground_truth" not in settings.notes[0]


def test_a_bag_is_played_and_heard_reliably_and_fixed_transforms_are_latched(tmp_path, write_bag):
    settings = settings_of(tmp_path, bag=str(write_bag(camera="Image", wheel="Odometry")))
    assert settings.parameters["image_reliability"] == settings.parameters["odom_reliability"] == "reliable"
    assert set(settings.qos) == {"/camera", "/wheel", "/tf", "/tf_static"}
    assert {profile["reliability"] for profile in settings.qos.values()} == {"reliable"}
    assert [t for t, profile in settings.qos.items() if profile["durability"] == "transient_local"] == ["/tf_static"]


def test_a_raw_camera_in_a_bag_overrides_what_a_file_says(tmp_path, write_bag):
    bag = write_bag(camera="Image")
    assert settings_of(tmp_path, bag=str(bag)).parameters["compressed"] is False


def test_ground_truth_serves_as_pose_only_by_name(tmp_path, write_bag):
    bag = write_bag(camera="Image", ground_truth__pose="PoseStamped")
    assert "pose_source" not in settings_of(tmp_path, bag=str(bag)).parameters
    named = settings_of(tmp_path, bag=str(bag), pose_topic="/ground_truth/pose")
    assert named.parameters["pose_source"] == "pose" and ("pose", "/ground_truth/pose") in named.remappings


def test_the_pose_source_of_a_parameter_file_stands_against_one_found_in_the_bag(tmp_path, write_bag):
    bag, file = write_bag(camera="Image", filtered="PoseStamped"), tmp_path / "own.yaml"
    file.write_text("/**:\n  ros__parameters:\n    pose_source: none\n")
    assert "pose_source" not in settings_of(tmp_path, bag=str(bag), params_file=str(file)).parameters
    file.write_text("/**:\n  ros__parameters:\n    top_k: 10\n")
    assert settings_of(tmp_path, bag=str(bag), params_file=str(file)).parameters["pose_source"] == "pose"


def test_a_copy_of_the_shipped_file_tells_nothing(tmp_path, write_bag):
    bag, file = write_bag(camera="Image", filtered="PoseStamped"), tmp_path / "own.yaml"
    file.write_text(documents.yaml(VPR_PARAMETERS))
    settings = settings_of(tmp_path, bag=str(bag), params_file=str(file))
    assert settings.parameters["pose_source"] == "pose" and settings.parameters["image_reliability"] == "reliable"
    assert settings.parameters["mode"] == "map"
    with pytest.raises(VprError, match="say map:=PATH"):
        settings_of(tmp_path, map="", params_file=str(file))


def test_the_mode_of_a_parameter_file_stands_until_an_argument_says_otherwise(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("/**:\n  ros__parameters:\n    mode: slam\n")
    assert "mode" not in settings_of(tmp_path, params_file=str(file)).parameters
    assert settings_of(tmp_path, params_file=str(file), mode="map").parameters["mode"] == "map"


def test_a_satellite_position_is_left_to_the_offline_mapper(tmp_path, write_bag):
    bag = write_bag(camera="Image", gps="NavSatFix")
    settings = settings_of(tmp_path, bag=str(bag))
    assert "pose_source" not in settings.parameters and "/gps" not in dict(settings.remappings).values()


def test_a_second_lidar_matters_only_where_clouds_are_used(tmp_path, write_bag):
    bag = write_bag(camera="Image", front="PointCloud2", rear="PointCloud2")
    assert "points" not in dict(settings_of(tmp_path, bag=str(bag)).remappings)
    with pytest.raises(VprError, match="pass points_topic:=NAME or 'points_topic:=none' to do without"):
        settings_of(tmp_path, bag=str(bag), verify="lidar")
    assert ("points", "/rear") in settings_of(tmp_path, bag=str(bag), verify="auto", points_topic="/rear").remappings


def test_several_cameras_are_refused_in_the_words_of_the_launch_file(tmp_path, write_bag):
    bag = write_bag(left="Image", right="Image")
    with pytest.raises(VprError, match=r"/left .*/right .*pass image_topic:=NAME$"):
        settings_of(tmp_path, bag=str(bag))
    assert ("image", "/right") in settings_of(tmp_path, bag=str(bag), image_topic="/right").remappings


def test_a_single_storage_file_and_a_folder_without_metadata_are_played(tmp_path, write_bag):
    bag = write_bag("lite", "sqlite3", camera="Image")
    file = next(bag.glob("*.db3"))
    settings = settings_of(tmp_path, bag=str(file))
    assert settings.play[3] == str(file) and settings.play[-2:] == ["--storage", "sqlite3"]
    (bag / "metadata.yaml").unlink()
    assert settings_of(tmp_path, bag=str(bag)).play[3] == str(file)
    (bag / "second.db3").write_bytes(file.read_bytes())
    with pytest.raises(VprError, match="ros2 bag reindex"):
        settings_of(tmp_path, bag=str(bag))


def test_the_time_of_a_bag_does_not_fight_the_time_of_the_player(tmp_path, write_bag):
    bag = write_bag(camera="Image", clock="Odometry")
    assert settings_of(tmp_path, bag=str(bag)).play[-2:] == ["--remap", "/clock:=/clock_of_the_bag"]


def test_a_ros_1_bag_is_refused_with_the_command_that_converts_it(tmp_path):
    bag = tmp_path / "old.bag"
    bag.write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(VprError, match=f"rosbags-convert --src {bag} --dst {tmp_path / 'old'} "):
        settings_of(tmp_path, bag=str(bag))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"bag": "nowhere"}, "bag:=nowhere does not exist"),
        ({"params_file": "nowhere.yaml"}, "params_file:=nowhere.yaml does not exist"),
        ({"map": ""}, "say map:=PATH"),
        ({"map": "nowhere/town.vpr"}, "folder of map:=nowhere/town.vpr does not exist"),
        ({"map": "town.vpr", "mode": "localize"}, "map:=town.vpr does not exist"),
        ({"verify": "true"}, "verify:=true is not known; choose one of none, camera, lidar, auto"),
    ],
)
def test_what_cannot_be_launched_is_one_sentence(tmp_path, given, sentence):
    with pytest.raises(VprError, match=sentence) as caught:
        settings_of(tmp_path, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "nan", "inf"])
def test_a_rate_must_be_a_speed(tmp_path, write_bag, rate):
    with pytest.raises(VprError, match=f"rate:={rate} is not a speed"):
        settings_of(tmp_path, bag=str(write_bag(camera="Image")), rate=rate)


@pytest.mark.parametrize("text", ["", "[", "vpr: 3", "vpr:\n  map_path: x\n", "\xff"])
def test_a_parameter_file_that_sets_nothing_is_refused(tmp_path, text):
    file = tmp_path / "own.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(VprError, match="own.yaml"):
        settings_of(tmp_path, params_file=str(file))


def test_a_map_named_in_the_parameter_file_is_enough(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("robot:\n  vpr:\n    ros__parameters:\n      map_path: town.vpr\n")
    settings = settings_of(tmp_path, map="", params_file=str(file))
    assert "map_path" not in settings.parameters and settings.params_file == str(file)


def test_the_look_into_a_bag_from_another_interpreter_says_the_same(write_bag, monkeypatch):
    bag = write_bag(camera="Image", wheel="Odometry")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    asked = {"image": "", "odom": "", "points": "none"}
    assert topics_of_bag(str(bag), asked, ("image", "odom")) == bag_topics(str(bag), asked, ("image", "odom"))
    with pytest.raises(VprError, match="has no topic /left; it has /camera"):
        topics_of_bag(str(bag), {"image": "/left"}, ("image",))


def test_an_interpreter_without_the_libraries_is_told_of_in_one_sentence(write_bag):
    program = (
        "import sys; sys.modules['rosbags'] = None; sys.argv[1:] = [sys.argv[1], '!image=']\n"
        "from vpr_ros.nodes.launching.bag_topics import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, str(write_bag(camera="Image"))]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2])
    assert run.returncode == 2
    assert "activate the Python environment" in run.stderr and len(run.stderr.splitlines()) == 1


def test_the_log_level_is_the_nodes_alone():
    assert log_arguments("", "", "vpr") == []
    assert log_arguments("Debug", "//fleet/robot1/", "vpr") == ["--log-level", "fleet.robot1.vpr:=debug"]
    with pytest.raises(VprError, match="choose one of debug"):
        log_arguments("loud", "", "vpr")


def test_truth_knows_what_people_type():
    assert [truth_value("x", t) for t in ("true", "True", "1", "on", "yes")] == [True] * 5
    assert [truth_value("x", t) for t in ("false", "FALSE", "0", "off", "no")] == [False] * 5


def test_launch_files_need_no_numpy():
    program = (
        "import sys\nfor name in ('numpy', 'cv2', 'torch', 'rosbags'): sys.modules[name] = None\n"
        "import vpr_ros.nodes.launching.description"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=CONFIG.parent)
    assert run.returncode == 0, run.stderr


LOCALIZE = NodeLaunch("vpr_node", "vpr", "vpr.yaml", ("map", "checkpoint", "device", "verify"))


def checked(monkeypatch, tmp_path, typed, command=("vpr_ros", "localize.launch.py"), configurations=()):
    """What localize.launch.py says to a command line, and to configurations that a parent file has set."""
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", *command, *typed])
    context = SimpleNamespace(
        locals=SimpleNamespace(current_launch_file_path=str(tmp_path / "localize.launch.py")),
        argv=list(typed),
        launch_configurations=dict.fromkeys(configurations, ""),
    )
    return check_arguments(context, LOCALIZE, parameters_in(CONFIG / "vpr.yaml"))


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("bagg:=x", "localize.launch.py has no argument 'bagg': is bag meant?"),
        ("imagetopic:=/camera", "'imagetopic': is image_topic meant?"),
        ("use_simtime:=true", "'use_simtime': is use_sim_time meant?"),
        ("output:=folder", "'output': other launch files of vpr_ros have it"),
        ("mode:=slam", "'mode': other launch files of vpr_ros have it"),
        ("min_margin:=0.1", "'min_margin': it is a parameter of the node vpr: write it into a file"),
        ("zzz:=1", "'zzz': --show-args lists those that it has"),
    ],
)
def test_unknown_arguments_are_refused_with_what_may_be_meant(tmp_path, monkeypatch, typed, sentence):
    with pytest.raises(VprError, match=re.escape(sentence)):
        checked(monkeypatch, tmp_path, ["map:=town.vpr", typed])


def test_known_arguments_pass_and_those_of_launch_itself(tmp_path, monkeypatch):
    assert checked(monkeypatch, tmp_path, ["map:=a", "verify:=1", "respawn:=true", "launch-prefix:=nice"]) == []


def test_a_file_that_is_named_by_its_path_is_checked_too(tmp_path, monkeypatch):
    path = tmp_path / "localize.launch.py"
    path.touch()
    with pytest.raises(VprError, match="is bag meant"):
        checked(monkeypatch, tmp_path, ["bagg:=x"], [str(path)])


def test_the_arguments_of_a_launch_file_that_includes_this_one_are_its_own(tmp_path, monkeypatch):
    """`robot.launch.py speed:=2` is none of our business; neither is a file of the same name in another package."""
    for command in (["my_robot", "robot.launch.py"], ["my_robot", "localize.launch.py"]):
        own = ["speed", "map", "use_respawn", "ros_namespace"]
        assert checked(monkeypatch, tmp_path, ["speed:=2"], command, own) == []
        (note,) = checked(monkeypatch, tmp_path, ["speed:=2"], command, [*own, "image_topics"])
        assert note == "localize.launch.py has no argument 'image_topics': is image_topic meant?"


@pytest.mark.parametrize(
    ("returncode", "words"),
    [(1, "ended with exit code 1"), (-9, "(SIGKILL, exit code -9)"), (-11, "(SIGSEGV, "), (-99, "(signal 99, ")],
)
def test_the_end_of_a_process_in_words(returncode, words):
    assert words in ending(returncode)
