"""Why nothing arrives, in sentences that name the topic, the publisher and what to change."""

from types import SimpleNamespace

import pytest

from vpr_ros.nodes.inputs.publishers import (
    COMPRESSED,
    IMAGE,
    compatibility,
    compressed_twin,
    followed_reliability,
    loss_sentence,
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


@pytest.mark.parametrize(
    "offered, before, followed",
    [
        (["RELIABLE"], "best_effort", "reliable"),
        (["RELIABLE", "RELIABLE"], "best_effort", "reliable"),
        (["RELIABLE", "BEST_EFFORT"], "reliable", "best_effort"),  # a reliable subscription would not hear the second
        (["BEST_EFFORT"], "reliable", "best_effort"),
        (["SYSTEM_DEFAULT"], "reliable", "best_effort"),  # best effort hears whatever it is
        ([], "reliable", "reliable"),  # a driver that starts anew
        ([], "best_effort", "best_effort"),
    ],
)
def test_reliability_follows_the_publishers(offered, before, followed):
    publishers = [publisher() for _ in offered]
    for one, name in zip(publishers, offered, strict=True):
        one.qos_profile = SimpleNamespace(reliability=SimpleNamespace(name=name))
    other = publisher(COMPRESSED)  # of another type: it does not reach us in any case
    other.qos_profile = SimpleNamespace(reliability=SimpleNamespace(name="BEST_EFFORT"))
    assert followed_reliability([*publishers, other], IMAGE, before) == followed


def test_losses_are_told_with_the_rate_and_the_remedy():
    sentence = loss_sentence("/image", 30.04, 0.271, "set image_reliability to auto")
    assert "about 30 messages/s are published on /image" in sentence and "27 % of them arrive" in sentence
    assert sentence.endswith("set image_reliability to auto")
    assert "compressed topic" in loss_sentence("/points", 10, 0.3)
