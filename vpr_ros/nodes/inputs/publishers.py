"""Why nothing arrives on a topic, from its publishers' types and QoS. Only `compatibility` uses rclpy."""

from collections.abc import Callable, Iterable
from typing import Any

from vpr_ros.runtime.input_settings import FixedReliability

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def publisher_problems(
    topic: str,
    msgtype: str,
    publishers: Iterable[Any],
    incompatible: Callable[[Any], str],
    required: bool = True,
    advice: str = "",
    remedy: str = "",
) -> list[str]:
    """Sentences about the publishers of one topic; empty when one of them reaches this node, or none is required.

    topic: the name after remapping. msgtype: what we subscribe. publishers: TopicEndpointInfo objects.
    incompatible(publisher): why its QoS does not reach us, '' when it does. advice: what to do when the topic has no
    publisher; remedy: what to do about QoS.
    """
    publishers = list(publishers)
    if not publishers:
        return [f"nobody publishes {topic} ({msgtype}); {advice or 'check the remapping'}"] if required else []
    sentences = []
    for publisher in publishers:
        name = _name(publisher)
        if publisher.topic_type != msgtype:
            sentences.append(
                f"{name} publishes {topic} as {publisher.topic_type}, not {msgtype}"
                f"{_other_type(msgtype, publisher.topic_type)}"
            )
        elif reason := incompatible(publisher):
            ending = f"; {remedy}" if remedy else ""
            sentences.append(f"QoS of {name} on {topic} does not reach this node: {reason}{ending}")
    # One publisher that reaches this node is enough; the others matter only while nothing arrives.
    return sentences if len(sentences) == len(publishers) else []


def followed_reliability(
    publishers: Iterable[Any], msgtype: str, before: FixedReliability = "best_effort"
) -> FixedReliability:
    """The reliability with which to subscribe so that all publishers of a type are heard, as well as they can be.

    Reliable where all of them are. A reliable subscription does not hear a best-effort publisher, so one of those
    makes it best effort. Without publishers it stays as it was `before`.
    """
    offered = {p.qos_profile.reliability.name for p in publishers if p.topic_type == msgtype}
    if not offered:
        return before
    return "reliable" if offered == {"RELIABLE"} else "best_effort"


def loss_sentence(topic: str, rate_hz: float, share: float, remedy: str = "") -> str:
    """That much of what is published does not arrive, and what to do."""
    return (
        f"about {rate_hz:.0f} messages/s are published on {topic} (by the stamps of those that come), and "
        f"{100 * share:.0f} % of them arrive: {remedy or 'take the compressed topic or larger buffers (docs/ros.md)'}"
    )


def type_name(msgtype: Any) -> str:
    """The name of a message class as the ROS graph has it."""
    return f"{msgtype.__module__.split('.')[0]}/msg/{msgtype.__name__}"


def compressed_twin(topic: str, msgtype: str, types_of: Callable[[str], Iterable[str]]) -> str:
    """Advice for an image topic without publisher whose raw or compressed twin is there; '' otherwise.

    types_of(topic) gives the message types of a topic's publishers.
    """
    if msgtype == IMAGE and COMPRESSED in types_of(f"{topic}/compressed"):
        return f"{topic}/compressed is there: start with compressed:=true"
    raw = topic.removesuffix("/compressed")
    if msgtype == COMPRESSED and IMAGE in types_of(raw):
        return f"{raw} is there: start with compressed:=false"
    return ""


def _other_type(wanted: str, sent: str) -> str:
    if (wanted, sent) == (IMAGE, COMPRESSED):
        return ": start with compressed:=true (parameter compressed)"
    if (wanted, sent) == (COMPRESSED, IMAGE):
        return ": start with compressed:=false (parameter compressed)"
    return ": remap another topic"


def _name(publisher: Any) -> str:
    name, namespace = publisher.node_name, publisher.node_namespace
    if not name or "UNKNOWN" in name:  # discovered before its node was
        return "a publisher"
    return f"node {namespace.rstrip('/')}/{name}"


def compatibility(publisher_qos: Any, subscription_qos: Any) -> str:
    """Why the publisher's QoS does not reach a subscription, in words; '' when it does."""
    try:
        from rclpy.qos import QoSCompatibility, qos_check_compatible
    except ImportError:
        return _compare(publisher_qos, subscription_qos)
    verdict, _ = qos_check_compatible(publisher_qos, subscription_qos)
    if verdict != QoSCompatibility.ERROR:
        return ""
    return _compare(publisher_qos, subscription_qos) or "its QoS is incompatible"


def _compare(publisher_qos: Any, subscription_qos: Any) -> str:
    reasons = []
    for policy, offered, asked, strong, weak in (
        ("reliability", publisher_qos.reliability.name, subscription_qos.reliability.name, "RELIABLE", "BEST_EFFORT"),
        ("durability", publisher_qos.durability.name, subscription_qos.durability.name, "TRANSIENT_LOCAL", "VOLATILE"),
    ):
        if (offered, asked) == (weak, strong):
            reasons.append(f"{policy} is {offered.lower()}, {asked.lower()} is asked")
    return " and ".join(reasons)
