"""What a robot calls its TF topics and its frames: as usual, or with its own name before them (robot1/base_link)."""

from collections.abc import Collection
from dataclasses import dataclass

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics
from vpr_ros.sensors.bags.reader import Bag, describe_topics

TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")


@dataclass(frozen=True)
class TfTopics:
    """The TF topics of a bag that are read, None where there is none, and those that are not."""

    moving: str | None
    static: str | None
    others: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """A sentence where these are not the usual ones, or where others could be meant; else empty."""
        names = [name for name in (self.moving, self.static) if name]
        unusual = [name for name in names if name not in ("/tf", "/tf_static")]
        if unusual:
            left = f"; {', '.join(self.others)} not" if self.others else ""
            return f"TF is read from {' and '.join(names)}{left}"
        if self.others:
            read = f"TF is read from {' and '.join(names)}, not" if names else "TF is not read: it could be"
            return f"{read} {', '.join(self.others)} (--tf-topic, --tf-static-topic)"
        return ""


def tf_topics(bag: Bag, asked: DriveTopics) -> TfTopics:
    """The TF topics as asked for, else /tf and /tf_static, else those of the one robot whose name stands before them.

    Raises VprError for a topic that was asked for and is not there or holds no TF.
    """
    found = [t.name for t in bag.topics if t.msgtype in TF_TYPES and t.count]
    for option, name in (("--tf-topic", asked.tf), ("--tf-static-topic", asked.tf_static)):
        if name is not None and bag.topic(name).msgtype not in TF_TYPES:
            raise VprError(
                f"topic {name} is not TF (tf2_msgs TFMessage), which {option} needs; "
                f"TF is on {', '.join(found) or 'no topic'} of {describe_topics(bag.topics)}"
            )
    moving = asked.tf or _only(found, "tf", "")
    robot = (moving or "").rpartition("/")[0]
    static = asked.tf_static or _only(found, "tf_static", robot)
    if asked.tf is None and moving is None and static:  # fixed links alone: of the same robot
        moving = _only(found, "tf", static.rpartition("/")[0])
    others = tuple(name for name in found if name not in (moving, static))
    return TfTopics(moving, static, others)


def _only(found: Collection[str], kind: str, robot: str) -> str | None:
    """The topic of a kind, the robot's own before the common one, before that of the one robot that has any."""
    named = [name for name in found if name.rpartition("/")[2] == kind]
    for name in (f"{robot}/{kind}", f"/{kind}"):
        if name in named:
            return name
    return named[0] if len(named) == 1 else None


@dataclass(frozen=True)
class Frames:
    """The names of the robot's frames in a bag."""

    base: str
    odom: str
    map: str
    note: str = ""  # a sentence where they are not those that were asked for; else empty

    @classmethod
    def found(cls, config: DriveConfig, known: Collection[str]) -> "Frames":
        """The frames of a configuration among the known ones: by their names, or with a robot's name before them.

        The robot is the one whose base frame is meant. A frame that is not known keeps its name.
        """
        asked = [frame.strip("/") for frame in (config.base_frame, config.odom_frame, config.map_frame)]
        base = _frame(asked[0], known, "")
        robot = base[: base.rfind("/") + 1]  # that of a base that was named with it counts, too
        names = [base, *(_frame(frame, known, robot) for frame in asked[1:])]
        taken = [f"{name} for {frame}" for name, frame in zip(names, asked, strict=True) if name != frame]
        note = f"frames are taken by their last name: {', '.join(taken)}" if taken else ""
        return cls(*names, note=note)


def _frame(name: str, known: Collection[str], robot: str) -> str:
    """A known frame of that name: the robot's own, one without a robot, or that of the only robot that has one."""
    if robot and robot + name in known:
        return robot + name
    prefixed = prefixed_frames(name, known)
    return name if name in known or len(prefixed) != 1 else prefixed[0]


def prefixed_frames(name: str, known: Collection[str]) -> list[str]:
    """Known frames with a robot's name before `name`, sorted."""
    return sorted(frame for frame in known if frame.endswith(f"/{name}"))
