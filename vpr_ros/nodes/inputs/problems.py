"""Why something that a node needs cannot arrive, one sentence each, for /diagnostics."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vpr_ros.nodes.inputs.publishers import (
    compatibility,
    compressed_twin,
    followed_reliability,
    loss_sentence,
    publisher_problems,
    type_name,
)
from vpr_ros.nodes.inputs.subscription import TopicInput

LOST = 0.5  # of what was sent: where less arrives it is reported


@dataclass(frozen=True)
class ExpectedTopic:
    """A topic that a node has subscribed."""

    input: TopicInput
    required: bool  # a missing publisher is a problem
    reliability_parameter: str = ""  # empty: it has none


def topic_problems(node: Any, topics: Iterable[ExpectedTopic]) -> list[str]:
    """Sentences about the publishers of the topics; empty when all that is needed can arrive."""
    return [sentence for topic in topics for sentence in _problems(node, topic)]


def _problems(node: Any, expected: ExpectedTopic) -> list[str]:
    own, parameter = expected.input, expected.reliability_parameter
    topic, msgtype = own.topic, type_name(own.msgtype)
    plain = own.name.removesuffix("/compressed")
    advice = compressed_twin(topic, msgtype, lambda name: _types_of(node, name)) if plain == "image" else ""
    publishers = node.get_publishers_info_by_topic(topic)
    fixed = own.reliable and own.wanted != "auto"
    sentences = publisher_problems(
        topic,
        msgtype,
        publishers,
        lambda publisher: compatibility(publisher.qos_profile, own.qos),
        expected.required,
        advice or f"check {plain}_topic (the remapping of {plain})",
        f"set {parameter} to auto or best_effort" if fixed else "",
    )
    arrived = own.stamps.share()
    if sentences or arrived is None or arrived[1] >= LOST:
        return sentences
    better = followed_reliability(publishers, msgtype) == "reliable" and not own.reliable
    return [loss_sentence(topic, *arrived, f"set {parameter} to auto or reliable" if better else "")]


def _types_of(node: Any, topic: str) -> list[str]:
    return [info.topic_type for info in node.get_publishers_info_by_topic(topic)]
