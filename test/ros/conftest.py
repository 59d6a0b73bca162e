"""Fixtures of the tests on a real ROS 2: own DDS domain per test process, drives, maps, checkpoints and nodes.

Where rclpy cannot be imported nothing in this folder is collected; test/conftest.py says so in one line.
"""

import os

import pytest

try:
    import rclpy  # noqa: F401

    HAS_ROS = True
except ImportError:
    HAS_ROS = False

FIRST_DOMAIN = 60  # where the caller chose none; domains up to 101 are free of the system's own ports


class _Skipped(pytest.Module):
    def collect(self):
        return []


if not HAS_ROS:

    def pytest_pycollect_makemodule(module_path, parent):
        return _Skipped.from_parent(parent, path=module_path)

else:
    _worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.environ["ROS_DOMAIN_ID"] = str(int(os.environ.get("VPR_TEST_DOMAIN", FIRST_DOMAIN)) + _worker)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.fixture(scope="session")
def drives(tmp_path_factory):
    """Bags by name: `first`; `second`: the same street, then off the map; `lap`: that without its end; `twice`: `first`
    and, from its start, again."""
    import ros_drives

    from vpr_ros.training.synthetic.bags import write_drive_bag

    folder = tmp_path_factory.mktemp("drives")
    write_drive_bag(folder / "first", ros_drives.first_drive())
    second = ros_drives.second_drive()
    write_drive_bag(folder / "second", second)
    ros_drives.copy_bag(folder / "second", folder / "lap", until_ns=int(second.stamps_ns[ros_drives.FRAMES]))
    ros_drives.copy_bag(folder / "first", folder / "twice", laps=2)
    return {name: folder / name for name in ("first", "second", "lap", "twice")}


@pytest.fixture(scope="session")
def extractor():
    from vpr_ros.student import DescriptorExtractor

    return DescriptorExtractor.from_checkpoint("nano", device="cpu")


@pytest.fixture(scope="session")
def first_map(drives, extractor, tmp_path_factory):
    """The first drive as the command line maps it, with clouds; nothing may write to it."""
    from vpr_ros.offline.map_bag import MapBagConfig, map_bag

    path = tmp_path_factory.mktemp("map") / "street.vpr"
    map_bag(drives["first"], path, extractor, MapBagConfig(clouds=True))
    return path


@pytest.fixture(scope="session")
def answers(drives, extractor, first_map, tmp_path_factory):
    """What `vpr_ros localize` answers for a bag, by stamp; with `stamps`, for these frames only."""
    from vpr_ros.evaluation.matches import read_matches
    from vpr_ros.offline.localize_bag import LocalizeBagConfig, localize_bag

    def localize(bag, stamps=None, map_path=first_map):
        out = tmp_path_factory.mktemp("offline") / "run"
        config = LocalizeBagConfig(only_stamps=None if stamps is None else frozenset(stamps))
        localize_bag(bag, map_path, out, extractor, config)
        return {record.stamp_ns: record for record in read_matches(out / "matches.jsonl")}

    return localize


@pytest.fixture(scope="session")
def slow_student(tmp_path_factory, drives):
    """(checkpoint, map): the paper's size with random weights, which no camera's rate can be kept up with on a CPU."""
    import ros_drives
    import torch

    from vpr_ros.place_map import PlaceMap
    from vpr_ros.student import D2VPR, SMALL, DescriptorExtractor, save_checkpoint

    folder = tmp_path_factory.mktemp("slow")
    torch.manual_seed(0)
    save_checkpoint(folder / "large.safetensors", D2VPR(SMALL).eval(), provenance={"kind": "untrained"})
    extractor = DescriptorExtractor.from_checkpoint(folder / "large.safetensors", device="cpu")
    frames = ros_drives.images_of(drives["first"])[::8]
    settings = dict(
        fingerprint=extractor.fingerprint,
        dim=extractor.dim,
        preprocessing=extractor.preprocessing,
        place_radius_m=10.0,
        model_name=extractor.name,
    )
    with PlaceMap.create(folder / "large.vpr", **settings) as place_map:
        session = place_map.start_session("first")
        for stamp, jpeg in frames:
            place_map.add(session, stamp, extractor.describe([ros_drives.pixels(jpeg)])[0])
    return folder / "large.safetensors", folder / "large.vpr"


@pytest.fixture
def robot():
    from ros_robot import Robot

    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture
def hear():
    """Makes hearers, `hear(start=True, **fields of InputSettings)`, and ends them after the test."""
    from ros_hearer import Hearer

    from vpr_ros.runtime.input_settings import InputSettings

    hearers = []

    def make(start=True, **settings):
        hearers.append(Hearer(InputSettings(**{"compressed": True, "mount": False, **settings}), start))
        return hearers[-1]

    yield make
    for hearer in hearers:
        hearer.close()


@pytest.fixture
def start(robot, tmp_path):
    """Starts vpr nodes, `start(mode=..., map_path=..., namespace=..., remaps=...)`, and ends them after the test."""
    from diagnostic_msgs.msg import DiagnosticArray
    from ros_process import VprNode

    diagnostics = robot.listen("/diagnostics", DiagnosticArray)
    started = []

    def start_node(**options):
        if "map_path" in options:
            options["map_path"] = str(options["map_path"])
        started.append(VprNode(robot, diagnostics, tmp_path, **options))
        return started[-1]

    yield start_node
    for node in started:
        node.kill()


@pytest.fixture(scope="session", autouse=True)
def installed(tmp_path_factory):
    """`ros2 launch vpr_ros ...` works: with the workspace that was sourced, else with this source tree."""
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    from ros_process import ament_prefix

    before = os.environ.get("AMENT_PREFIX_PATH", "")
    try:
        get_package_prefix("vpr_ros")
    except PackageNotFoundError:
        prefix = ament_prefix(tmp_path_factory.mktemp("installed") / "prefix")
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join(filter(None, [str(prefix), before]))
    yield
    os.environ["AMENT_PREFIX_PATH"] = before


@pytest.fixture
def programs():
    """Add a Process: it is gone after the test, whatever happened."""
    running: list = []
    yield running
    for program in running:
        program.kill()
