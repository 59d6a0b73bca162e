"""What holds two drives together: how many constraints, where none are, what they leave, and whether that is enough."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert
from vpr_ros.offline.align.graph import Aligned
from vpr_ros.offline.crossing import Course


@dataclass(frozen=True)
class JudgingConfig:
    """When two drives are believed to be in one frame."""

    hold_m: float = 0.5  # a constraint holds where no more is left of it
    hold_rad: float = np.radians(3.0)
    least_holding: int = 10
    least_share: float = 0.8  # of the constraints that hold
    gap_m: float = 10.0  # without a constraint that holds, from where on a gap is told
    least_covered_m: float = 30.0  # of the second drive, outside of gaps
    least_covered: float = 0.2  # as a share of the shorter drive
    reach_m: float = 50.0  # beyond the last constraint that holds, odometry alone tells too little
    bend_m: float = 0.5  # by which odometry may differ from the poses between two constraints that hold
    bend_per_m: float = 0.04  # and on each metre between them


@dataclass(frozen=True)
class Hold:
    """How two drives hold together. Gaps (G, 2) are metres along the second drive, whose length is `length_m`."""

    constraints: int
    holds: np.ndarray  # (K,) bool
    gaps_m: np.ndarray
    length_m: float
    covered_m: float
    error_m: tuple[float, float]  # what is left of all constraints: median and 90th percentile
    error_rad: tuple[float, float]
    reached: np.ndarray  # (M,) rows of the second drive that lie near enough to a constraint to have a pose
    bends: tuple[tuple[float, float, float], ...]  # metres from, to, and by how much odometry differs from the poses

    @property
    def sentence(self) -> str:
        """For people."""
        degrees = np.degrees(self.error_rad)
        return (
            f"{int(self.holds.sum())} of {self.constraints} constraints hold, along {self.covered_m:.0f} of "
            f"{self.length_m:.0f} m; left unexplained: median {self.error_m[0]:.2f} m and {degrees[0]:.1f} degrees, "
            f"p90 {self.error_m[1]:.2f} m and {degrees[1]:.1f} degrees"
        )

    @property
    def gap_sentence(self) -> str:
        """Along which metres of the second drive nothing holds it."""
        if not len(self.gaps_m):
            return "no gaps"
        return f"no constraint along metres {', '.join(f'{a:.0f} to {b:.0f}' for a, b in self.gaps_m)}"

    @property
    def bend_sentence(self) -> str:
        """Where odometry and the constraints contradict each other, at most three of them; empty without any."""
        if not self.bends:
            return ""
        worst = sorted(self.bends, key=lambda bend: -bend[2])[:3]
        where = ", ".join(f"{a:.0f} to {b:.0f} ({by:.1f} m)" for a, b, by in sorted(worst))
        return f"odometry disagrees with the constraints along metres {where}: wheels slipped, or constraints are wrong"


def judge(aligned: Aligned, second: Course, config: JudgingConfig | None = None) -> Hold:
    """Measures how both drives hold together after the optimisation."""
    config = config or JudgingConfig()
    holds = (aligned.errors_m <= config.hold_m) & (aligned.errors_rad <= config.hold_rad)
    ends = np.array([c.second for c, h in zip(aligned.constraints, holds, strict=True) if h], np.int64)
    known, reached = second.part >= 0, np.zeros(len(second.part), bool)
    gaps: list[tuple[float, float]] = []
    for part in np.unique(second.part[known]).tolist():
        rows, of_part = np.flatnonzero(second.part == part), ends[second.part[ends] == part]
        along = second.along_m[rows]
        at = np.unique(second.along_m[of_part])
        edges = np.concatenate([along[:1], at, along[-1:]])
        gaps += [(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b - a > config.gap_m or not len(at)]
        if len(at):
            reached[rows] = np.abs(along[:, None] - at[None]).min(axis=1) <= config.reach_m
    length_m = _length(second)
    gaps_m = np.array([g for g in gaps if g[1] > g[0]]).reshape(-1, 2)
    return Hold(
        len(holds),
        holds,
        gaps_m,
        length_m,
        length_m - float(np.diff(gaps_m, axis=1).sum()),
        _middle_and_most(aligned.errors_m),
        _middle_and_most(aligned.errors_rad),
        reached & np.isfinite(aligned.second).all(axis=(1, 2)),
        _bends(aligned.second, second, np.unique(ends), config),
    )


def _bends(
    T: np.ndarray, course: Course, rows: np.ndarray, config: JudgingConfig
) -> tuple[tuple[float, float, float], ...]:
    """Between neighbours of rows, which constraints hold, in the order of the drive."""
    a, b = rows[:-1], rows[1:]
    error = invert(invert(course.T[a]) @ course.T[b]) @ invert(T[a]) @ T[b]
    by_m, way_m = np.linalg.norm(error[:, :3, 3], axis=1), course.along_m[b] - course.along_m[a]
    bent = (course.part[a] == course.part[b]) & (by_m > config.bend_m + config.bend_per_m * way_m)
    return tuple(zip(*(x[bent].tolist() for x in (course.along_m[a], course.along_m[b], by_m)), strict=True))


def refuse(hold: Hold, first: Course, names: tuple[str, str], config: JudgingConfig | None = None) -> None:
    """Raises VprError where constraints are too few, disagree, or cover too little of the drives called `names`."""
    config = config or JudgingConfig()
    holding, least_m = int(hold.holds.sum()), _least_covered(hold, first, config)
    if hold.constraints < config.least_holding:
        what = f"only {hold.constraints} constraints between them, {config.least_holding} are needed"
    elif holding < max(config.least_holding, config.least_share * hold.constraints):
        what = (
            f"only {holding} of {hold.constraints} constraints hold together within {config.hold_m:g} m and "
            f"{np.degrees(config.hold_rad):g} degrees, {config.least_share:.0%} are needed"
        )
    elif hold.covered_m < least_m:
        what = (
            f"constraints cover {hold.covered_m:.0f} of {hold.length_m:.0f} m of the second, {least_m:.0f} m are needed"
        )
    else:
        return
    raise VprError(
        f"{names[0]} and {names[1]} cannot be brought into one frame: {what}. Do they share a street, with walls or "
        "trees that a LiDAR sees?"
    )


def _least_covered(hold: Hold, first: Course, config: JudgingConfig) -> float:
    return max(config.least_covered_m, config.least_covered * min(_length(first), hold.length_m))


def _length(course: Course) -> float:
    """Metres of all parts."""
    parts = (course.along_m[course.part == part] for part in range(int(course.part.max(initial=-1)) + 1))
    return float(sum(np.ptp(along) for along in parts))


def _middle_and_most(errors: np.ndarray) -> tuple[float, float]:
    middle, most = np.percentile(errors, [50, 90]) if len(errors) else (np.nan, np.nan)
    return float(middle), float(most)
