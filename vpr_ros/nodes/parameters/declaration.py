"""Declares the parameters of a table on a node, checks them, and reads them."""

from collections.abc import Iterable
from typing import Any

from vpr_ros.errors import VprError
from vpr_ros.nodes.parameters.documents import yaml_value
from vpr_ros.nodes.parameters.parameter import LARGE, Parameter


def declare(node: Any, table: Iterable[Parameter]) -> None:
    """Declares a table on a node and refuses, with the reason, changes that make no sense.

    Raises VprError for a value given at start that has another type or lies outside the range.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    table = tuple(table)
    for p in table:
        descriptor = ParameterDescriptor(
            description=f"{p.description} Takes effect {p.when}.",
            read_only=p.read_only,
            additional_constraints=f"one of: {p.allowed}" if p.choices else "",
        )
        if p.minimum is not None and isinstance(p.default, float):
            high = LARGE if p.maximum is None else p.maximum
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(p.minimum), to_value=float(high))]
        elif p.minimum is not None:
            high = LARGE if p.maximum is None else p.maximum
            descriptor.integer_range = [IntegerRange(from_value=int(p.minimum), to_value=int(high))]
        try:
            node.declare_parameter(p.name, p.default, descriptor)
        except (InvalidParameterTypeException, InvalidParameterValueException):
            allowed = f", {p.allowed}" if p.allowed else ""
            raise VprError(
                f"parameter {p.name} was given at start with a value that it cannot take: its type is "
                f"{p.type_name}{allowed}, as in {p.name}:={yaml_value(p.default)}"
            ) from None

    known = {p.name: p for p in table}

    def check(changes):
        new = values_of(node, table)
        for change in changes:
            p = known.get(change.name)
            if p is None:
                continue
            if p.choices and change.value not in p.choices:
                return SetParametersResult(
                    successful=False, reason=f"{p.name} must be one of {p.allowed}, not '{change.value}'"
                )
            new[p.name] = change.value
        reason = problem(new)
        return SetParametersResult(successful=reason is None, reason=reason or "")

    node.add_on_set_parameters_callback(check)


def values_of(node: Any, table: Iterable[Parameter]) -> dict[str, Any]:
    """What a node's parameters are now."""
    return {p.name: node.get_parameter(p.name).value for p in table}


def unusable(values: dict[str, Any], table: Iterable[Parameter]) -> str | None:
    """What is wrong with values that were given at start, before any check ran; None when nothing is."""
    for p in table:
        if p.choices and values[p.name] not in p.choices:
            return f"parameter {p.name} must be one of {p.allowed}, not '{values[p.name]}'"
    return problem(values)


def problem(values: dict[str, Any]) -> str | None:
    """Why these values do not go together, in one sentence; None when they do."""
    get = values.get
    for name in ("base_frame", "odom_frame", "map_frame"):
        if name in values and not str(values[name]).strip("/ "):
            return f"{name} is empty: name the frame, as in base_link"
    if get("odom_source", "none") in ("auto", "tf") and get("base_frame") == get("odom_frame"):
        return f"base_frame and odom_frame are both '{get('base_frame')}': odometry would be the identity"
    if get("verify") and get("mode") == "map":
        return "verify checks matches, and mode 'map' makes none: use mode 'slam' or 'localize'"
    if get("keep_clouds") and get("mode") == "localize":
        return "keep_clouds writes into the map, and mode 'localize' only reads it: use mode 'map' or 'slam'"
    if "accept_probability" in values and get("min_margin", 0.0) > get("accept_probability"):
        return (
            f"min_margin {get('min_margin'):g} is above accept_probability {get('accept_probability'):g}: a place "
            "cannot lead by more than the probability it needs"
        )
    return None
