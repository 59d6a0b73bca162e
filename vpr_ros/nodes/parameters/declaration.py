"""Declares the parameters of a table on a node, checks them, and reads them."""

import difflib
from collections.abc import Iterable
from typing import Any

from vpr_ros.errors import VprError
from vpr_ros.runtime.parameters.checks import problem
from vpr_ros.runtime.parameters.documents import yaml_value
from vpr_ros.runtime.parameters.parameter import LARGE, Parameter


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
            # The shell and YAML make a number of rotate:=90.
            dynamic_typing=any(choice.isdigit() for choice in p.choices),
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
        if not any(change.name in known for change in changes):
            return SetParametersResult(successful=True)  # such as diagnostic_updater's, declared at start
        new = values_of(node, table)
        for change in changes:
            p = known.get(change.name)
            if p is None:
                continue
            if p.choices and str(change.value) not in p.choices:
                return SetParametersResult(
                    successful=False, reason=f"{p.name} must be one of {p.allowed}, not '{change.value}'"
                )
            new[p.name] = str(change.value) if p.choices else change.value
        reason = problem(new)
        return SetParametersResult(successful=reason is None, reason=reason or "")

    node.add_on_set_parameters_callback(check)


def values_of(node: Any, table: Iterable[Parameter]) -> dict[str, Any]:
    """What a node's parameters are now; a choice is text, whatever it came as."""
    now = {p.name: node.get_parameter(p.name).value for p in table}
    return {p.name: str(now[p.name]) if p.choices else now[p.name] for p in table}


def undeclared(node: Any, table: Iterable[Parameter], active: bool = False) -> list[str]:
    """A sentence about each parameter that was given at start, in a file or on the command line, and that the node does
    not have. ROS passes over them in silence.

    `qos_overrides` are declared as their topics are used: those of an `active` node are looked at, too.
    """
    known = [p.name for p in table]
    sentences = []
    for name in sorted(node._parameter_overrides):  # rclpy has no other way to them
        if node.has_parameter(name) or (name.startswith("qos_overrides.") and not active):
            continue
        near = difflib.get_close_matches(name, known, 1)
        hint = f"is {near[0]} meant?" if near else f"`ros2 param list {node.get_fully_qualified_name()}` lists its own"
        sentences.append(f"parameter '{name}' is none of this node's and has no effect: {hint}")
    return sentences


def warn_of_undeclared(node: Any, table: Iterable[Parameter]) -> None:
    """Logs `undeclared`."""
    for sentence in undeclared(node, table):
        node.get_logger().warning(sentence)
