"""From which probability on to accept places, for a wanted precision: looked up in what labelled drives showed."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from vpr_ros.errors import VprError

NEVER = 1.0  # no calibrated probability reaches it


class Accepted(NamedTuple):
    """What acceptance from one probability on came to on labelled drives.

    `precision` is an estimate on the careful side: one more stretch of frames is counted, half of which is wrong. So
    few drives without any mistake show little. `low` and `high` are the 95 % interval of the precision. All three take
    frames on and off the map as equally frequent, and frames of one stretch for a common observation as far as they
    err together (`vpr_ros.calibration.thresholds`).
    """

    probability: float
    frames: int  # accepted
    right: int  # of these
    stretches: int  # that these come from
    precision: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Threshold:
    """The probability from which places are accepted where a precision is wanted.

    `shown`: labelled drives have this precision from there on. Otherwise they are too few, or contradict it.
    """

    wanted: float
    probability: float
    shown: bool
    reachable: float  # the highest precision that the drives show
    counted: Accepted | None  # of the frames accepted from there on; None where there were none
    recall: float  # right ones of them, as a share of the frames that lay on the map

    @property
    def sentence(self) -> str:
        """What is accepted from which probability on, what that stands on, and what to do where it is not much."""
        c = self.counted
        stands_on = "on no frame of the labelled drives"
        if c is not None:
            stands_on = (
                f"{c.right} of {c.frames} accepted frames right, in {c.stretches} stretches of the drives, "
                f"{self.recall:.0%} of those on the map; 95 % interval of the precision {c.low:.3f} to {c.high:.3f}"
            )
        if self.shown:
            return f"precision {self.wanted:g} is reached from probability {self.probability:g} on: {stands_on}."
        if self.probability >= NEVER:
            return (
                f"precision {self.wanted:g} is out of reach, nothing is accepted: the labelled drives show "
                f"{self.reachable:.3f} at best ({stands_on}). Ask for less, or map again under today's conditions."
            )
        return (
            f"precision {self.wanted:g} cannot be shown by so few frames, at most {self.reachable:.3f}: places are "
            f"accepted from probability {self.probability:g} on, which comes to that precision if the probabilities "
            f"hold ({stands_on}). Calibrate on a longer drive."
        )


@dataclass(frozen=True)
class ThresholdTable:
    """`rows` rise in probability; `on_map` and `off_map` frames were asked in all."""

    rows: tuple[Accepted, ...]
    on_map: int
    off_map: int

    def threshold(self, wanted: float) -> Threshold:
        """The least probability of the table with the wanted precision, in (0, 1).

        Where none has it because the frames are too few, the answer is the wanted precision itself, as a probability:
        if the probabilities hold, what is accepted is right at least as often. It is a higher one where the drives
        contradict that, and NEVER where they contradict it everywhere. The answer never falls as `wanted` rises.
        """
        if not 0 < wanted < 1:
            raise VprError(
                f"a precision of {wanted:g} cannot be asked for: give a number between 0 and 1, such as 0.99"
            )
        known = [row for row in self.rows if row.frames]
        reachable = max((row.precision for row in known), default=0.0)
        for row in known:
            if row.precision >= wanted:
                return self._answer(wanted, row.probability, row, True, reachable)
        best = next((row.probability for row in known if row.precision == reachable), 0.0)
        probability = max(wanted, best)
        below = [row for row in known if row.probability <= probability]
        if not below or below[-1].high >= wanted:
            above = next((row for row in self.rows if row.probability >= probability), None)
            return self._answer(wanted, probability, above if above and above.frames else None, False, reachable)
        for row in known:
            if row.probability > probability and row.high >= wanted:
                return self._answer(wanted, row.probability, row, False, reachable)
        at_best = next(row for row in known if row.probability == best)
        return self._answer(wanted, NEVER, at_best, False, reachable)

    def _answer(
        self, wanted: float, probability: float, counted: Accepted | None, shown: bool, reachable: float
    ) -> Threshold:
        recall = counted.right / self.on_map if counted is not None and self.on_map else 0.0
        return Threshold(wanted, probability, shown, reachable, counted, recall)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, by columns: a map's file has one."""
        columns = {name: [getattr(row, name) for row in self.rows] for name in Accepted._fields}
        return {**columns, "on_map": self.on_map, "off_map": self.off_map}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ThresholdTable":
        """Inverse of `to_dict`; KeyError, TypeError or ValueError for damaged content."""
        columns = [data[name] for name in Accepted._fields]
        rows = tuple(
            Accepted(float(p), int(frames), int(right), int(stretches), float(precision), float(low), float(high))
            for p, frames, right, stretches, precision, low, high in zip(*columns, strict=True)
        )
        for row in rows:
            if not (
                all(0 <= share <= 1 for share in (row.probability, row.precision, row.low, row.high))
                and 0 <= row.right <= row.frames
            ):
                raise ValueError(f"{row} is no row of a table of thresholds")
        if any(a.probability >= b.probability for a, b in zip(rows, rows[1:], strict=False)):
            raise ValueError("the probabilities of a table of thresholds must rise")
        return cls(rows, int(data["on_map"]), int(data["off_map"]))
