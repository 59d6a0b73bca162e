"""Why nothing arrives, in sentences that name the topic, the publisher and what to change."""

from types import SimpleNamespace

import pytest

from vpr_ros.nodes.inputs.publishers import (
    COMPRESSED,
    IMAGE,
    compatibility,
    compressed_twin,
    publisher_problems,
)


def publisher(kind=IMAGE, name="cam", namespace="/front"):
    return SimpleNamespace(node_name=name, node_namespace=namespace, topic_type=kind)


def heard(_):
    return ""


def test_nobody_publishes():
    assert publisher_problems("/image", IMAGE, [], heard) == [
        "nobody publishes /image (sensor_msgs/msg/Image); check the remapping"
    ]
    assert "start with X" in publisher_problems("/image", IMAGE, [], heard, advice="start with X")[0]
    assert not publisher_problems("/odom", "nav_msgs/msg/Odometry", [], heard, required=False)


@pytest.mark.parametrize(
    "wanted, sent, advice",
    [
        (IMAGE, COMPRESSED, "compressed:=true"),
        (COMPRESSED, IMAGE, "compressed:=false"),
        (IMAGE, "sensor_msgs/msg/PointCloud2", "remap another topic"),
    ],
)
def test_another_type(wanted, sent, advice):
    (sentence,) = publisher_problems("/image", wanted, [publisher(sent)], heard)
    assert f"node /front/cam publishes /image as {sent}, not {wanted}" in sentence and advice in sentence


def test_incompatible_qos_names_the_node_and_the_remedy():
    def incompatible(p):
        return "reliability is best_effort" if p.node_name == "cam" else ""

    sentences = publisher_problems("/image", IMAGE, [publisher()], incompatible, remedy="set image_reliability")
    assert sentences == [
        "QoS of node /front/cam on /image does not reach this node: reliability is best_effort; set image_reliability"
    ]
    assert "a publisher" in publisher_problems("/i", IMAGE, [publisher(COMPRESSED, "_NODE_NAME_UNKNOWN_")], heard)[0]
    # One that can be heard is enough.
    assert not publisher_problems("/image", IMAGE, [publisher(), publisher(name="sim")], incompatible)


def test_the_twin_of_an_image_topic():
    there = {"/cam/compressed": [COMPRESSED], "/raw": [IMAGE]}

    def types_of(topic):
        return there.get(topic, [])

    assert "/cam/compressed is there: start with compressed:=true" == compressed_twin("/cam", IMAGE, types_of)
    assert "/raw is there: start with compressed:=false" == compressed_twin("/raw/compressed", COMPRESSED, types_of)
    assert "/raw is there" in compressed_twin("/raw", COMPRESSED, types_of)
    assert compressed_twin("/other", IMAGE, types_of) == ""


def test_qos_without_rclpy_compares_reliability_and_durability(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rclpy.qos", None)  # an ImportError, as where rclpy has no such function

    def qos(reliability, durability):
        return SimpleNamespace(
            reliability=SimpleNamespace(name=reliability), durability=SimpleNamespace(name=durability)
        )

    weak, strong = qos("BEST_EFFORT", "VOLATILE"), qos("RELIABLE", "TRANSIENT_LOCAL")
    assert compatibility(strong, weak) == "" and compatibility(strong, strong) == ""
    assert compatibility(weak, strong) == (
        "reliability is best_effort, reliable is asked and durability is volatile, transient_local is asked"
    )
