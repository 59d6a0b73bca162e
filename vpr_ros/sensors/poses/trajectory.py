"""Poses over time: from messages or TUM files, asked for at any stamp between them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.atomic import whole_file
from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import FARTHEST_M, interpolate, make_transform, matrix_to_quaternion
from vpr_ros.sensors.payload import stamp_ns
from vpr_ros.sensors.stamps import nearest


@dataclass
class Trajectory:
    """Poses T (N, 4, 4) at strictly increasing stamps_ns (N,) int64, with covariances (N, 6, 6) where known."""

    stamps_ns: np.ndarray
    T: np.ndarray
    covariances: np.ndarray | None = None

    def __post_init__(self):
        self.stamps_ns = np.asarray(self.stamps_ns, np.int64).reshape(-1)
        self.T = np.asarray(self.T, np.float64).reshape(-1, 4, 4)
        if len(self.stamps_ns) != len(self.T):
            raise ValueError(f"{len(self.stamps_ns)} stamps for {len(self.T)} poses")
        # Sorted, and of equal stamps the first: interpolation needs increasing time.
        self.stamps_ns, keep = np.unique(self.stamps_ns, return_index=True)
        self.T = self.T[keep]
        if self.covariances is not None:
            self.covariances = np.asarray(self.covariances, np.float64).reshape(-1, 6, 6)[keep]

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def at_many(self, stamps_ns, max_gap_s: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Poses (M, 4, 4) at stamps (M,) and which of them are covered (M,) bool; the others are NaN.

        A sample itself, or interpolated between two at most `max_gap_s` apart; never extrapolated.
        """
        stamps, samples = np.asarray(stamps_ns, np.int64).reshape(-1), self.stamps_ns
        T = np.full((len(stamps), 4, 4), np.nan)
        if not len(samples):
            return T, np.zeros(len(stamps), bool)
        after = np.clip(np.searchsorted(samples, stamps), 0, len(samples) - 1)
        before = np.where(samples[after] == stamps, after, np.maximum(after - 1, 0))
        gap_ns = samples[after] - samples[before]
        covered = (samples[before] <= stamps) & (stamps <= samples[after]) & (gap_ns <= max_gap_s * 1e9)
        on_sample, between = np.flatnonzero(covered & (gap_ns == 0)), np.flatnonzero(covered & (gap_ns > 0))
        T[on_sample] = self.T[after[on_sample]]
        a, b = before[between], after[between]
        T[between] = interpolate(self.T[a], self.T[b], (stamps[between] - samples[a]) / gap_ns[between])
        return T, covered

    def at(self, stamp_ns: int, max_gap_s: float = 1.0) -> np.ndarray | None:
        """Pose (4, 4) at a stamp as `at_many` has it; None where it is not covered."""
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if after == len(self):
            return None
        after_ns = int(self.stamps_ns[after])
        if after_ns == stamp_ns:
            return self.T[after].copy()
        if after == 0:
            return None
        before_ns = int(self.stamps_ns[after - 1])
        if after_ns - before_ns > max_gap_s * 1e9:
            return None
        return interpolate(self.T[after - 1], self.T[after], (stamp_ns - before_ns) / (after_ns - before_ns))

    def gap_s(self, stamp_ns: int) -> float | None:
        """Seconds between the samples around a stamp, rounded up to hundredths; 0 on a sample, None outside of all."""
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if after == len(self):
            return None
        if self.stamps_ns[after] == stamp_ns:
            return 0.0
        return None if after == 0 else -(-int(self.stamps_ns[after] - self.stamps_ns[after - 1]) // 10**7) / 100

    def covariance_at(self, stamp_ns: int) -> np.ndarray | None:
        """Covariance (6, 6) of the sample nearest in time, or None when the source has none."""
        if self.covariances is None or not len(self):
            return None
        covariance = self.covariances[nearest(np.array([stamp_ns]), self.stamps_ns)[0, 0]]
        return covariance.copy() if np.isfinite(covariance).all() and covariance.any() else None

    @classmethod
    def from_samples(
        cls,
        stamps_ns: Sequence[int] | np.ndarray,
        poses: Sequence[np.ndarray],
        covariances: Sequence[np.ndarray | None],
    ) -> "Trajectory":
        """N stamps with their poses (4, 4) and covariances (6, 6), None where a sample has none."""
        filled = None
        if any(c is not None for c in covariances):
            filled = np.array([np.full((6, 6), np.nan) if c is None else c for c in covariances])
        return cls(np.asarray(stamps_ns, np.int64), np.array(poses), filled)

    @classmethod
    def from_messages(cls, messages, rejected: Counter | None = None) -> "Trajectory":
        """Poses of Odometry, PoseStamped or PoseWithCovarianceStamped messages by header stamp.

        Unusable poses are left out and counted by sentence in `rejected`.
        """
        stamps, poses, covariances = [], [], []
        for msg in messages:
            try:
                T, covariance = pose_of(msg)
            except FrameError as error:
                if rejected is not None:
                    rejected[str(error)] += 1
                continue
            stamps.append(stamp_ns(msg))
            poses.append(T)
            covariances.append(covariance)
        return cls.from_samples(stamps, poses, covariances)

    @classmethod
    def from_tum(cls, path) -> "Trajectory":
        """Poses of a TUM file: `seconds x y z qx qy qz qw` a line, # comments. Raises VprError naming the bad line.

        Seconds are read as decimal text, not as floats, so nanoseconds survive.
        """
        stamps, poses = [], []
        try:
            lines = Path(path).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise VprError(f"trajectory {path} cannot be read ({error}); a TUM text file is needed") from None
        for number, line in enumerate(lines, 1):
            words = line.split("#")[0].replace(",", " ").split()
            if not words:
                continue
            try:
                values = [float(w) for w in words[1:]]
                if len(values) != 7 or not np.isfinite(values).all() or max(map(abs, values)) > FARTHEST_M:
                    raise ValueError
                stamps.append(_seconds_to_ns(words[0]))
                poses.append(make_transform(values[:3], values[3:]))
            except (ValueError, OverflowError):
                raise VprError(
                    f"trajectory {path}, line {number}, is not 'seconds x y z qx qy qz qw'; correct or remove it"
                ) from None
        if not poses:
            raise VprError(f"trajectory {path} holds no pose; a TUM file with 'seconds x y z qx qy qz qw' is needed")
        return cls(np.array(stamps, np.int64), np.array(poses))

    def to_tum(self, path) -> None:
        """Write the TUM format that `from_tum` reads, nanoseconds and 9 decimals kept."""

        def unwritable(error: OSError) -> VprError:
            return VprError(f"trajectory {path} cannot be written ({error.strerror}); check rights and space")

        lines = []
        for stamp, T in zip(self.stamps_ns, self.T, strict=True):
            sign, magnitude = ("-", -int(stamp)) if stamp < 0 else ("", int(stamp))
            seconds = f"{sign}{magnitude // 10**9}.{magnitude % 10**9:09d}"
            numbers = " ".join(f"{v:.9f}" for v in (*T[:3, 3], *matrix_to_quaternion(T[:3, :3])))
            lines.append(f"{seconds} {numbers}\n")
        with whole_file(path, durable=False, make_folder=False, explain=unwritable) as draft:
            draft.write_text("".join(lines))


def travelled(T: np.ndarray) -> np.ndarray:
    """Metres driven (N,) from the first of the poses (N, 4, 4) to each of them."""
    legs = np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(legs)])[: len(T)]


def pose_of(msg) -> tuple[np.ndarray, np.ndarray | None]:
    """Pose (4, 4) and covariance (6, 6) or None of an Odometry, PoseStamped or PoseWithCovarianceStamped message.

    Raises FrameError for numbers that are not finite or beyond any on Earth, and for a quaternion without direction.
    """
    pose, covariance = msg.pose, None
    if hasattr(pose, "covariance"):
        covariance = np.asarray(pose.covariance, np.float64).reshape(6, 6)
        pose = pose.pose
    p, q = pose.position, pose.orientation
    return rigid(p, q), covariance


def rigid(p, q) -> np.ndarray:
    """Transform (4, 4) of a ROS vector and quaternion; FrameError when they describe no pose."""
    translation, quaternion = (p.x, p.y, p.z), (q.x, q.y, q.z, q.w)
    if not np.isfinite(translation).all() or not np.isfinite(quaternion).all():
        raise FrameError("pose holds NaN or infinity")
    if max(map(abs, (*translation, *quaternion))) > FARTHEST_M:
        raise FrameError(f"pose holds numbers above {FARTHEST_M:.0e}, farther than the Earth is wide")
    try:
        return make_transform(translation, quaternion)
    except ValueError:
        raise FrameError("pose has a zero quaternion, which is no rotation") from None


def _seconds_to_ns(text: str) -> int:
    if "e" in text.lower():
        return round(float(text) * 1e9)
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.lstrip("+-").partition(".")
    return sign * (int(whole or 0) * 10**9 + int((fraction + "0" * 9)[:9]))
