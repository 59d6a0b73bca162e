"""From probabilities to accepted, rejected or unknown, with a reason."""

from typing import NamedTuple

import numpy as np

from vpr_ros.configuration import DecisionConfig
from vpr_ros.recognition.types import Reason, Status

REASONS: dict[Reason, str] = {
    "accepted": "The place is recognised.",
    "off_map": "The robot is most probably outside the map.",
    "ambiguous": "Two distinct places of the map fit about equally well.",
    "low_probability": "No place of the map is probable enough.",
    "unsupported": "The place follows from the frames before, but this frame's retrieval does not contain it.",
    "unconfirmed": "The place has not been confirmed by enough frames yet.",
    "too_recent": "Only places that the robot has just left are in the map.",
    "no_map": "The map has no keyframes.",
}


class Verdict(NamedTuple):
    """Status, the reason in one word, and the sentence for people."""

    status: Status
    reason: Reason
    message: str


class Decision:
    """Keeps count of consistent frames; everything else is a function of the probabilities."""

    def __init__(self, config: DecisionConfig):
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forgets how long the best place has been the best."""
        self._consistent = 0

    def decide(
        self,
        probabilities: np.ndarray,
        continues: bool,
        supported: bool = True,
        accept_probability: float | None = None,
    ) -> Verdict:
        """The verdict on place probabilities (M,), sorted.

        `continues`: the best place lies where the last frame's best place has moved to. `supported`: this frame's
        retrieval contains a keyframe of the best place. `accept_probability` replaces the configuration's.
        """
        c = self.config
        needed = c.accept_probability if accept_probability is None else accept_probability
        best = float(probabilities[0]) if len(probabilities) else 0.0
        second = float(probabilities[1]) if len(probabilities) > 1 else 0.0
        self._consistent = self._consistent + 1 if continues else 1
        if 1.0 - float(probabilities.sum()) >= c.unknown_probability:
            return _verdict("unknown", "off_map", f"P(unknown) is {1 - probabilities.sum():.2f}")
        if best < needed or best - second < c.min_margin:
            # A rival with a third of the best one's probability is the reason; otherwise it is plain lack of evidence.
            if second > best / 3 or best >= needed:
                return _verdict("rejected", "ambiguous", f"{best:.2f} against {second:.2f}")
            return _verdict("rejected", "low_probability", f"{best:.2f}, needed {needed:.2f}")
        if c.require_support and not supported:
            return _verdict("rejected", "unsupported", f"probability {best:.2f}")
        if self._consistent < c.min_consistent_frames:
            return _verdict("rejected", "unconfirmed", f"{self._consistent} of {c.min_consistent_frames}")
        return _verdict("accepted", "accepted", f"probability {best:.2f}")


def _verdict(status: Status, reason: Reason, figures: str) -> Verdict:
    return Verdict(status, reason, f"{REASONS[reason][:-1]} ({figures}).")
