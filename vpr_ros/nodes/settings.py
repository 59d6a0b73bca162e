"""From the nodes' parameters, by name, to the configurations of the live core."""

from typing import Any

from vpr_ros.configuration import DecisionConfig, GateConfig, RecognitionConfig
from vpr_ros.runtime.settings import PipelineConfig, RecordingConfig

DECISION = ("accept_probability", "min_margin", "unknown_probability", "min_consistent_frames")


def decision_config(values: dict[str, Any]) -> DecisionConfig:
    """The rules of acceptance, which may change while the node runs."""
    return DecisionConfig(**{name: values[name] for name in DECISION})


def pipeline_config(values: dict[str, Any]) -> PipelineConfig:
    """Of the parameters of the node vpr."""
    return PipelineConfig(
        map_path=values["map_path"],
        mode=values["mode"],
        checkpoint=values["checkpoint"],
        device=values["device"],
        precision=values["precision"],
        threads=values["threads"],
        gate=GateConfig(
            distance_m=values["keyframe_distance_m"],
            heading_deg=values["keyframe_heading_deg"],
            novelty_similarity=values["keyframe_novelty"],
            every_n=values["keyframe_every"] or None,
        ),
        recognition=RecognitionConfig(
            top_k=values["top_k"],
            place_radius=values["place_radius"] or None,
            max_places=values["max_places"],
            drive_mean_frames=None if values["drive_mean_frames"] < 0 else values["drive_mean_frames"],
            loop_min_gap_s=values["loop_min_gap_s"],
            loop_min_travel_m=values["loop_min_travel_m"],
            decision=decision_config(values),
        ),
        map_frame=values["map_frame"],
        session=values["session"],
        verify=values["verify"],
    )


def recording_config(values: dict[str, Any]) -> RecordingConfig:
    """Of the parameters of the node recorder."""
    return RecordingConfig(
        drive=values["drive"],
        city=values["city"],
        condition=values["condition"],
        spacing_m=values["spacing_m"],
        heading_deg=values["heading_deg"],
        require_cloud=values["require_cloud"],
        jpeg_quality=values["jpeg_quality"],
        max_width=values["max_width"],
        pose_source=values["pose_source"],
    )
