"""From the values of parameters, by name, to the configurations of the live core and of reading bags, and back."""

from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

from vpr_ros.configuration import DecisionConfig
from vpr_ros.errors import VprError
from vpr_ros.runtime.parameters.tables import VPR_PARAMETERS
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors.bags.config import DriveConfig

_DECISION = "recognition.decision."
DECISION = tuple(p.name for p in VPR_PARAMETERS if p.target.startswith(_DECISION))
# Those by which a bag is read as a robot reads its topics; fields of DriveConfig by the same names.
DRIVE = (
    "base_frame",
    "odom_frame",
    "map_frame",
    "max_gap_s",
    "max_cloud_gap_s",
    "odom_offset_s",
    "pose_offset_s",
    "points_offset_s",
    "rotate",
)


def pipeline_config(values: Mapping[str, Any], base: PipelineConfig | None = None) -> PipelineConfig:
    """`base` (the defaults) with the values of some or all parameters of the node vpr; others are ignored.

    Raises VprError for a value that a configuration refuses.
    """
    fields = {p.target: p.field_value(values[p.name]) for p in VPR_PARAMETERS if p.target and p.name in values}
    try:
        return _replaced(base or PipelineConfig(), fields)
    except ValueError as error:
        raise VprError(f"these parameters cannot be used: {error}") from None


def decision_config(values: Mapping[str, Any]) -> DecisionConfig:
    """The rules of acceptance, which may change while a node runs."""
    return pipeline_config(values).recognition.decision


def drive_config(values: Mapping[str, Any]) -> DriveConfig:
    """How a bag is read with the values of some or all parameters."""
    return DriveConfig(**{name: values[name] for name in DRIVE if name in values})


def changed(config: PipelineConfig, drive: DriveConfig | None = None) -> dict[str, Any]:
    """The parameters that differ from their defaults, by name; of the network and of the files none is looked at."""
    out: dict[str, Any] = {}
    for p in VPR_PARAMETERS:
        if p.target and p.name not in ("mode", "map_path", "checkpoint", "session"):
            value = attrgetter(p.target)(config)
            value = p.none if value is None else value
        elif drive is not None and p.name in DRIVE:
            value = getattr(drive, p.name)
        else:
            continue
        if value != p.default:
            out[p.name] = value
    return out


def _replaced(config: Any, fields: Mapping[str, Any]) -> Any:
    """A dataclass with other values at paths such as "gate.distance_m"."""
    own = {path: value for path, value in fields.items() if "." not in path}
    for group in {path.partition(".")[0] for path in fields if "." in path}:
        inner = {path[len(group) + 1 :]: value for path, value in fields.items() if path.startswith(f"{group}.")}
        own[group] = _replaced(getattr(config, group), inner)
    return replace(config, **own)
