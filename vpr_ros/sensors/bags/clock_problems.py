"""Sentences on poses and clouds of a bag whose stamps are of another clock than the images'."""

from typing import Final

from vpr_ros.sensors.bags.pose_sources import PoseSources, TrackStage
from vpr_ros.sensors.clocks import Clock, clock_offset

_OPTIONS: Final[dict[TrackStage, str]] = {"odometry": "--odom-offset-s", "pose": "--pose-offset-s"}


def clock_problems(sources: PoseSources, images: Clock, image_topic: str, only: TrackStage | None = None) -> list[str]:
    """What is wrong with the clocks of odometry and of poses, or of one of the two, beside the images'."""
    out: list[str] = []
    for stage, option in _OPTIONS.items():
        if only in (None, stage):
            track = sources.odom if stage == "odometry" else sources.pose
            out += _problem(stage, track.clock, image_topic, images, option, "every pose is")
    return out


def points_clock(points: Clock, topic: str, images: Clock) -> list[str]:
    """What is wrong with the clock of clouds beside the images'."""
    return _problem(topic, points, "the images", images, "--points-offset-s", "every cloud is")


def _problem(name: str, clock: Clock, image_topic: str, images: Clock, option: str, what: str) -> list[str]:
    offset = clock_offset(clock, images)
    if offset is None or not offset.apart:
        return []
    correction = f"{option} {-offset.offset_s:+.2f}"
    return [
        f"{name} is stamped {offset.phrase(image_topic)} though both arrive together: two clocks, and {what} that far "
        f"off; synchronise them, or add {correction}{'' if offset.steady else ', which is right midway only'}"
    ]
