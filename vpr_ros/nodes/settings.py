"""From the parameters of the node recorder, by name, to its configuration."""

from typing import Any

from vpr_ros.runtime.settings import RecordingConfig


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
