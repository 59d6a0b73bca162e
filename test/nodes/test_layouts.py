"""The layouts for RViz and Foxglove: they parse, show what the node publishes, and ask for QoS that it offers."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LATCHED = {"/vpr/keyframes", "/vpr/vision_info"}
BEST_EFFORT = {"/vpr/match_image/compressed"}


def published():
    """Topics of the node vpr, read from the table of its publishers; no ROS is needed for that."""
    source = (ROOT / "vpr_ros" / "nodes" / "outputs" / "publishers.py").read_text(encoding="utf-8")
    table = source.partition("TOPICS = {")[2]
    return {f"/vpr/{name}" for name in re.findall(r'^    "([\w/]+)": \(', table.partition("\n}")[0], re.MULTILINE)}


@pytest.fixture(scope="module")
def rviz():
    return yaml.safe_load((ROOT / "config" / "vpr.rviz").read_text(encoding="utf-8"))["Visualization Manager"]


@pytest.fixture(scope="module")
def foxglove():
    return json.loads((ROOT / "config" / "foxglove.json").read_text(encoding="utf-8"))


def test_rviz_shows_published_topics_with_the_qos_they_have(rviz):
    topics = {d["Topic"]["Value"]: d["Topic"] for d in rviz["Displays"] if "Topic" in d}
    assert set(topics) == {"/vpr/keyframes", "/vpr/markers", "/vpr/pose", "/vpr/match_image/compressed"} <= published()
    for name, topic in topics.items():
        assert topic["Durability Policy"] == ("Transient Local" if name in LATCHED else "Volatile")
        assert topic["Reliability Policy"] == ("Best Effort" if name in BEST_EFFORT else "Reliable")


def test_rviz_needs_nothing_but_its_own_plugins(rviz):
    assert {d["Class"].split("/")[0] for d in rviz["Displays"]} == {"rviz_default_plugins"}
    assert rviz["Global Options"]["Fixed Frame"] == "map"


def test_foxglove_shows_published_topics(foxglove):
    named = set(re.findall(r"/vpr/[\w/]+", json.dumps(foxglove)))
    assert named == {"/vpr/keyframes", "/vpr/markers", "/vpr/pose", "/vpr/matches", "/vpr/match_image/compressed"}
    assert named <= published()
    assert foxglove["configById"]["DiagnosticSummary!vprhealth"]["topicToRender"] == "/diagnostics"


def test_every_foxglove_panel_has_its_place(foxglove):
    def panels(node):
        return {node} if isinstance(node, str) else panels(node["first"]) | panels(node["second"])

    assert panels(foxglove["layout"]) == set(foxglove["configById"])


def test_what_the_layouts_publish_is_what_ros_2_listens_to(foxglove, rviz):
    """nav2's names; ROS 1 had /move_base_simple/goal."""
    said = foxglove["configById"]["3D!vprmap"]["publish"]
    topics = {name: said[name] for name in ("poseTopic", "pointTopic", "poseEstimateTopic")}
    assert topics == {
        "poseTopic": "/goal_pose",
        "pointTopic": "/clicked_point",
        "poseEstimateTopic": "/initialpose",
    }
    tools = {tool["Class"].rpartition("/")[2]: tool for tool in rviz["Tools"] if "Topic" in tool}
    assert {name: tool["Topic"]["Value"] for name, tool in tools.items()} == {"SetInitialPose": "/initialpose"}
    shipped = [path for folder in ("config", "launch", "docs") for path in (ROOT / folder).rglob("*.*")]
    assert not [path for path in shipped if b"move_base" in path.read_bytes()]
