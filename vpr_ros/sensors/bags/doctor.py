"""The report of `vpr_ros doctor`: a bag's topics, measured, and a verdict for every stage that reads them."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.observation import Rotation
from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics
from vpr_ros.sensors.bags.pose_sources import mounting_of, read_pose_sources
from vpr_ros.sensors.bags.reader import Bag
from vpr_ros.sensors.bags.scan import TopicScan, scan_topics
from vpr_ros.sensors.bags.stages import (
    ERROR,
    OK,
    WARN,
    StageVerdict,
    Verdict,
    camera_info_stage,
    image_stage,
    mounting_stage,
    points_stage,
    recording_stage,
    tf_stage,
    told,
    track_stage,
)
from vpr_ros.sensors.bags.topics import candidates, choose_topic, sort_out


@dataclass
class DoctorReport:
    """Everything `vpr_ros doctor` prints."""

    path: str
    kind: Literal["ROS 1", "ROS 2", "pictures"]
    duration_s: float
    message_count: int
    topics: list[TopicScan] = field(default_factory=list)
    stages: list[StageVerdict] = field(default_factory=list)
    image_topic: str | None = None  # that was examined
    rotation: Rotation = 0  # that makes its pictures upright, by TF or as told

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all stages."""
        found = {s.verdict for s in self.stages}
        return ERROR if ERROR in found else WARN if WARN in found else OK

    @property
    def ok(self) -> bool:
        """Whether no stage is at ERROR; warnings are allowed."""
        return self.verdict != ERROR

    def stage(self, name: str) -> StageVerdict:
        """Verdict of one stage: recording, image, odometry, pose, points, tf, camera_info or mounting."""
        return next(s for s in self.stages if s.stage == name)

    def lines(self) -> list[str]:
        """The report as plain text lines: the bag, its topics, its stages."""
        out = [f"{self.path}: {self.kind}, {self.message_count} messages in {self.duration_s:.1f} s"]
        rows: list[tuple[str, ...]] = [("topic", "type", "count", "Hz", "median dt", "max gap", "stamps", "content")]
        for t in self.topics:
            times = (f"{t.rate_hz:.1f}", f"{t.median_dt_s:.3f} s", f"{t.max_gap_s:.2f} s") if t.rate_hz else ("-",) * 3
            rows.append((t.name, t.msgtype, str(t.count), *times, t.order, t.detail or "-"))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        out += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return out + [f"{s.verdict:5}  {s.stage}: {s.sentence}" for s in self.stages]

    def to_dict(self) -> dict:
        """Plain values for JSON, without the stamps."""
        topics = [
            {k: v for k, v in vars(t).items() if not isinstance(v, np.ndarray)} | {"order": t.order}
            for t in self.topics
        ]
        return {
            "path": self.path,
            "kind": self.kind,
            "duration_s": self.duration_s,
            "verdict": self.verdict,
            "message_count": self.message_count,
            "rotation": self.rotation,
            "topics": topics,
            "stages": [asdict(s) for s in self.stages],
        }


def left_out(bag: Bag, role: str, scans: dict[str, TopicScan]) -> list[str]:
    """Which topics of a role's types are not taken for it, and why."""
    option = f"--{role}-topic"
    out = []
    for name, reason in sort_out(bag, role)[1].items():
        scan = scans[name]
        frame = f" in frame {scan.frame_id}" if role == "pose" and scan.frame_id else ""
        use = f"; {option} {name} takes it" if scan.stamped and scan.count else ""
        out.append(f"left out: {name} ({scan.count} {scan.msgtype.rpartition('/')[2]}{frame}), {reason}{use}")
    return out


def doctor(path, topics: DriveTopics | None = None, config: DriveConfig | None = None) -> DoctorReport:
    """Examine a bag. Raises VprError only when the bag itself cannot be read; all else becomes a verdict."""
    requested, config = topics or DriveTopics(), config or DriveConfig()
    with Bag(path) as bag:
        scans = {s.name: s for s in scan_topics(bag)}
        chosen, failed, left = {}, {}, {}
        for role in ("image", "odom", "pose", "points"):
            left[role] = left_out(bag, role, scans) if getattr(requested, role) is None else []
            try:
                chosen[role] = choose_topic(bag, role, getattr(requested, role))
            except VprError as error:
                chosen[role], failed[role] = None, str(error)
        names = replace(requested, **chosen)
        sources = read_pose_sources(bag, names, config, requested)
        infos = candidates(bag, "camera_info")
    image = scans.get(names.image or "")
    frame_id = image.frame_id if image is not None else ""
    mounting = mounting_of(config, sources, frame_id)
    stages = [
        recording_stage(bag.losses),
        told(image_stage(image, failed.get("image")), left["image"]),
        track_stage("odometry", names.odom, failed.get("odom"), image, sources, config, left["odom"]),
        track_stage("pose", names.pose, failed.get("pose"), image, sources, config, left["pose"]),
        told(points_stage(scans.get(names.points or ""), failed.get("points"), image, sources, config), left["points"]),
        tf_stage(bag, requested, sources),
        camera_info_stage([scans[t.name] for t in infos], image),
    ]
    if image is not None:
        stages.append(mounting_stage(mounting))
    return DoctorReport(
        str(Path(path)),
        "pictures" if bag.pictures else "ROS 2" if bag.ros2 else "ROS 1",
        bag.duration_s,
        bag.message_count,
        list(scans.values()),
        stages,
        names.image,
        mounting.rotation,
    )
