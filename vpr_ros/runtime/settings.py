"""From a node's parameters to the core's configurations."""

from typing import Any

from vpr_ros.place_map import GateConfig
from vpr_ros.recognition import DecisionConfig, MapperConfig, RecognitionConfig

DECISION = ("accept_probability", "min_margin", "unknown_probability", "min_consistent_frames")


def decision_config(values: dict[str, Any]) -> DecisionConfig:
    """The rules of acceptance."""
    return DecisionConfig(**{name: values[name] for name in DECISION})


def recognition_config(values: dict[str, Any]) -> RecognitionConfig:
    """Search, filter and decision."""
    return RecognitionConfig(
        top_k=values["top_k"],
        place_radius=values["place_radius"] or None,
        max_places=values["max_places"],
        loop_min_gap_s=values["loop_min_gap_s"],
        loop_min_travel_m=values["loop_min_travel_m"],
        decision=decision_config(values),
    )


def mapper_config(values: dict[str, Any]) -> MapperConfig:
    """What becomes a keyframe, and in mode slam what is recognised."""
    gate = GateConfig(
        distance_m=values["keyframe_distance_m"],
        heading_deg=values["keyframe_heading_deg"],
        novelty_similarity=values["keyframe_novelty"],
        every_n=values["keyframe_every"] or None,
    )
    return MapperConfig(gate=gate, recognition=recognition_config(values), slam=values["mode"] == "slam")
