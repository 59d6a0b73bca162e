"""Why something that a node needs cannot arrive, one sentence each, for /diagnostics."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy

from vpr_ros.nodes.inputs.publishers import compatibility, compressed_twin, publisher_problems


@dataclass(frozen=True)
class ExpectedTopic:
    """A topic that a node has subscribed."""

    name: str  # relative, before remapping
    msgtype: Any
    qos: QoSProfile
    required: bool  # a missing publisher is a problem
    reliability_parameter: str


def topic_problems(node: Any, topics: Iterable[ExpectedTopic]) -> list[str]:
    """Sentences about the publishers of the topics; empty when all that is needed can arrive."""
    return [sentence for topic in topics for sentence in _problems(node, topic)]


def _problems(node: Any, expected: ExpectedTopic) -> list[str]:
    topic, msgtype = node.resolve_topic_name(expected.name), _type_name(expected.msgtype)
    plain = expected.name.removesuffix("/compressed")
    advice = compressed_twin(topic, msgtype, lambda name: _types_of(node, name)) if plain == "image" else ""
    reliable = expected.qos.reliability == ReliabilityPolicy.RELIABLE
    return publisher_problems(
        topic,
        msgtype,
        node.get_publishers_info_by_topic(topic),
        lambda publisher: compatibility(publisher.qos_profile, expected.qos),
        expected.required,
        advice or f"check {plain}_topic (the remapping of {plain})",
        f"set {expected.reliability_parameter} to best_effort" if reliable else "",
    )


def _types_of(node: Any, topic: str) -> list[str]:
    return [info.topic_type for info in node.get_publishers_info_by_topic(topic)]


def _type_name(msgtype: Any) -> str:
    return f"{msgtype.__module__.split('.')[0]}/msg/{msgtype.__name__}"
