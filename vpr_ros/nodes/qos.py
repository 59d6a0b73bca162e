"""Quality of service as users set it for each topic, by parameters `qos_overrides.<topic>.<entity>.<policy>`."""

from collections.abc import Callable
from copy import copy
from typing import Any, Literal

from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from vpr_ros.errors import VprError
from vpr_ros.runtime.input_settings import FixedReliability


def create_publisher(node: Any, msgtype: Any, name: str, qos: QoSProfile) -> Any:
    """A publisher with the user's policies; VprError for one that does not exist."""
    options = _overrides(node, name, "publisher")
    # A copy: rclpy writes the policies into the profile.
    return _explained(
        node, name, lambda: node.create_publisher(msgtype, name, copy(qos), qos_overriding_options=options)
    )


def create_subscription(
    node: Any, msgtype: Any, name: str, callback: Callable[[Any], None], qos: QoSProfile
) -> tuple[Any, QoSProfile]:
    """A subscription with the user's policies and the profile that came of it; VprError for one that does not exist."""
    options, own = _overrides(node, name, "subscription"), copy(qos)
    made = _explained(
        node, name, lambda: node.create_subscription(msgtype, name, callback, own, qos_overriding_options=options)
    )
    return made, own


def user_reliability(node: Any, name: str) -> FixedReliability | None:
    """The reliability that the user has set for an input; None where that was left open, or is no reliability."""
    key = f"qos_overrides.{node.resolve_topic_name(name)}.subscription.reliability"
    given = node._parameter_overrides.get(key)
    value = None if given is None else given.value
    return value if value in ("reliable", "best_effort") else None


def _overrides(node: Any, name: str, entity: Literal["publisher", "subscription"]) -> QoSOverridingOptions:
    """The policies that the user has given. The others are not declared: a declared one would hold on to what the first
    configure had chosen."""
    prefix = f"qos_overrides.{node.resolve_topic_name(name)}.{entity}."
    given = [
        kind for key, kind in QoSPolicyKind.__members__.items() if prefix + key.lower() in node._parameter_overrides
    ]
    return QoSOverridingOptions(given)


def _explained(node: Any, name: str, create: Callable[[], Any]) -> Any:
    try:
        return create()
    except (RuntimeError, ValueError, InvalidParameterTypeException, InvalidParameterValueException) as error:
        topic = node.resolve_topic_name(name)
        if not any(key.startswith(f"qos_overrides.{topic}.") for key in node._parameter_overrides):
            raise
        raise VprError(f"qos_overrides.{topic} holds a value that is no QoS: {' '.join(str(error).split())}") from None
