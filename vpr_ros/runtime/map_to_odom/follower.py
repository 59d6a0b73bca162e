"""map -> odom kept up by verified poses: first fix, following, holding, recovery."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vpr_ros.recognition.motion import leap_m
from vpr_ros.runtime.map_to_odom.config import MapToOdomConfig
from vpr_ros.runtime.map_to_odom.smoothing import SmoothTransform
from vpr_ros.runtime.map_to_odom.track import STEP_M, MapPose, Track, stds
from vpr_ros.sensors.stamps import begins_anew, jump_text

_COMPARABLE = 2.0  # times as wide as what is followed: poses that agree with one another may be far apart
State = Literal["waiting", "following", "held"]
Event = Literal[
    "first fix",
    "used",
    "found again",
    "relocalised",
    "unconfirmed",
    "gated",
    "too vague",
    "no odometry",
    "odometry jumped",
    "clock jumped",
    "held",
]


@dataclass(frozen=True)
class Outcome:
    """What one image did to the transform; the sentence, where there is one, is for the log."""

    event: Event
    sentence: str = ""


@dataclass(frozen=True)
class Status:
    """How the transform stands. Numbers are None before the first fix."""

    state: State
    reason: str = ""  # why it is held
    std_m: float | None = None  # on the ground, in the least certain direction
    std_deg: float | None = None  # of the heading
    travelled_m: float | None = None  # since the last pose that was used
    pending_m: float | None = None  # correction that is still to be given out
    pending_deg: float | None = None


class Follower:
    """Takes each image's odometry and, where there is one, its verified pose; gives T_map_odom. For one thread at once.

    Poses that agree with the estimate are fused. Those that do not are gated, and make an estimate of their own: once
    enough of them agree with one another, and none agreed with the first meanwhile, theirs replaces it. So does a
    kidnapped robot recover, and a single wrong place does no harm. The first fix, and the first one after a stretch on
    which odometry has drifted too far, need the agreement of `confirmations` poses.
    """

    def __init__(self, config: MapToOdomConfig):
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forget everything; nothing is given out until the next fix."""
        self._track: Track | None = None
        self._rival: Track | None = None  # of poses that the track does not explain
        self._last_ns: int | None = None
        self._T_odom_base: np.ndarray | None = None
        self._has_odometry = False
        self._advanced_s: float | None = None
        self._told: State = "waiting"
        self._T_ahead: np.ndarray | None = None  # where odometry is now, and its way since the last image
        self._ahead_m = 0.0
        self._T_given: np.ndarray | None = None  # where odometry was when a transform was given out last
        rates = self.config.correction_m_s, self.config.correction_rad_s
        self._output = SmoothTransform(*rates, share=2 * self.config.odom_drift)

    def forget(self) -> None:
        """Trust the estimate no more; the last transform is held until the next fix."""
        self._track = self._rival = None

    # One image

    def take(self, stamp_ns: int, T_odom_base: np.ndarray | None, pose: MapPose | None) -> list[Outcome]:
        """What an image of this stamp does: odometry (4, 4) of its time, and its verified pose where it has one."""
        outcomes: list[Outcome] = []
        if self._last_ns is not None and begins_anew(self._last_ns, stamp_ns):
            text = f"the clock went {jump_text(self._last_ns, stamp_ns)}: map -> odom waits for a first pose"
            outcomes.append(Outcome("clock jumped", text))
            self.reset()
        elapsed_s = 0.0 if self._last_ns is None else (stamp_ns - self._last_ns) * 1e-9
        self._has_odometry = T_odom_base is not None and bool(np.isfinite(T_odom_base).all())
        if T_odom_base is None or not self._has_odometry:
            if pose is not None:
                outcomes.append(Outcome("no odometry"))
            return outcomes
        self._last_ns = stamp_ns
        outcomes += self._move(T_odom_base, elapsed_s)
        if pose is not None:
            outcomes.append(self._see(stamp_ns, T_odom_base, pose))
        return outcomes

    def _move(self, T_odom_base: np.ndarray, elapsed_s: float) -> list[Outcome]:
        last, self._T_odom_base = self._T_odom_base, T_odom_base
        way_m = self._ahead_m if elapsed_s > self.config.blind_s else 0.0
        self._T_ahead, self._ahead_m = T_odom_base, 0.0
        leap = 0.0 if last is None else leap_m(last, T_odom_base, elapsed_s, self.config.motion)
        if not leap:
            for track in (self._track, self._rival):
                if track is not None:
                    track.moved(T_odom_base, way_m)
            return []
        self._rival = None
        if self._track is not None:
            self._track.restarted(T_odom_base)
            self._output.jump(self._track.T_map_odom)
        return [Outcome("odometry jumped", f"odometry jumped by {leap:.1f} m: the robot is held where it was")]

    def _see(self, stamp_ns: int, T_odom_base: np.ndarray, pose: MapPose) -> Outcome:
        config, track = self.config, self._track
        if not config.narrow(*stds(pose.covariance)):
            return Outcome("too vague")
        agrees = track is not None and track.agrees(pose)
        if track is not None and agrees and track.narrow():
            track.fuse(pose)
            self._rival = None
            return self._corrected("used")
        rival = self._rival
        if rival is not None and rival.narrow(_COMPARABLE) and rival.agrees(pose):
            rival.fuse(pose)
        else:
            rival = self._rival = Track(config, stamp_ns, T_odom_base, pose)
        contradicted = track is not None and not agrees
        needed, span_s = (
            (config.contradictions, config.contradiction_s) if contradicted else (config.confirmations, 0.0)
        )
        if rival.poses < needed or stamp_ns - rival.began_ns < span_s * 1e9:
            return Outcome("gated" if contradicted else "unconfirmed")
        self._track, self._rival = rival, None
        return self._corrected("first fix" if track is None else "relocalised" if contradicted else "found again")

    def _corrected(self, event: Event) -> Outcome:
        """The output told that the estimate is another one; a large step is made at once."""
        track, T_odom_base = self._track, self._T_odom_base
        assert track is not None and T_odom_base is not None
        goal = track.T_map_odom
        if self._output.value is None:
            self._output.jump(goal)
            x, y = track.T_map_base[:2, 3]
            return Outcome(event, f"map -> odom has its first fix: the robot is at x {x:.2f} m, y {y:.2f} m")
        shift, turn = self._output.lacking(goal, T_odom_base)
        at_once = event in ("first fix", "relocalised")
        if at_once or self._output.seconds(goal, T_odom_base) > self.config.jump_after_s:
            self._output.jump(goal)
            metres, degrees = np.linalg.norm(shift), np.degrees(np.linalg.norm(turn))
            return Outcome(event, f"map -> odom jumps: {event}, by {metres:.2f} m and {degrees:.1f} degrees")
        return Outcome(event)

    # What is given out

    def transform(self, now_s: float, T_odom_base: np.ndarray | None) -> np.ndarray | None:
        """T_map_odom (4, 4) to be given out at a time; None before the first fix. Times do not go back but by reset.

        `T_odom_base` (4, 4) is where the robot is by then, None where that is not known better than from the last
        image: corrections are bounded there, since a turn about a place behind the robot would throw it sideways, and
        it tells how far the robot goes where no images come.
        """
        elapsed_s = 0.0 if self._advanced_s is None else max(now_s - self._advanced_s, 0.0)
        self._advanced_s = now_s
        robot = self._T_odom_base if T_odom_base is None else T_odom_base
        if robot is not None and self._T_ahead is not None:
            step_m = float(np.linalg.norm(robot[:3, 3] - self._T_ahead[:3, 3]))
            if step_m >= STEP_M:
                self._T_ahead, self._ahead_m = robot, self._ahead_m + step_m
        if self._output.value is not None and self._track is not None and robot is not None:
            last = robot if self._T_given is None else self._T_given
            way_m = float(np.linalg.norm(robot[:3, 3] - last[:3, 3]))
            self._output.advance(self._track.T_map_odom, robot, elapsed_s, way_m)
        self._T_given = robot
        return self._output.value

    def change(self) -> Outcome | None:
        """That the transform is held from now on, once each time; to be asked again and again."""
        before, status = self._told, self.status()
        self._told = status.state
        if before == "following" and status.state == "held":
            return Outcome("held", f"map -> odom is held: {status.reason}")
        return None

    def status(self) -> Status:
        """How the transform stands."""
        track = self._track
        if self._output.value is None:
            return Status("waiting")
        if track is None or self._T_ahead is None:
            return Status("held", "the position was forgotten")
        shift, turn = self._output.lacking(track.T_map_odom, self._T_ahead)
        std_m, std_rad = stds(track.covariance_at(self._T_ahead, self._ahead_m))
        travelled_m = track.travelled_m + self._ahead_m
        reason = self._doubt(std_m, std_rad, travelled_m)
        return Status(
            "held" if reason else "following",
            reason,
            std_m,
            float(np.degrees(std_rad)),
            travelled_m,
            float(np.linalg.norm(shift)),
            float(np.degrees(np.linalg.norm(turn))),
        )

    def _doubt(self, std_m: float, std_rad: float, travelled_m: float) -> str:
        """Why the estimate is not to be relied on; "" where it is."""
        if not self._has_odometry:
            return "the last image came without odometry"
        if not self.config.narrow(std_m, std_rad):
            return (
                f"no verified pose on the last {travelled_m:.0f} m, the robot may be off by {std_m:.1f} m and "
                f"{np.degrees(std_rad):.0f} degrees"
            )
        if self._rival is not None and self._rival.poses >= self.config.confirmations:
            return f"{self._rival.poses} verified poses agree that the robot is elsewhere"
        return ""
