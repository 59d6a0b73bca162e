"""From probabilities to accepted, rejected or unknown, with a reason."""

import numpy as np

from vpr_ros.configuration import DecisionConfig

REASONS = {
    "accepted": "The place is recognised.",
    "off_map": "The robot is most probably outside the map.",
    "ambiguous": "Two distinct places of the map fit about equally well.",
    "low_probability": "No place of the map is probable enough.",
    "unsupported": "The place follows from the frames before, but this frame's retrieval does not contain it.",
    "unconfirmed": "The place has not been confirmed by enough frames yet.",
    "too_recent": "Only places that the robot has just left are in the map.",
    "no_map": "The map has no keyframes.",
}


class Decision:
    """Keeps count of consistent frames; everything else is a function of the probabilities."""

    def __init__(self, config: DecisionConfig):
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forgets how long the best place has been the best."""
        self._consistent = 0

    def decide(self, probabilities: np.ndarray, continues: bool, supported: bool = True) -> tuple[str, str, str]:
        """Status, reason and message for place probabilities (M,), sorted.

        `continues`: the best place lies where the last frame's best place has moved to. `supported`: this frame's
        retrieval contains a keyframe of the best place.
        """
        c = self.config
        best = float(probabilities[0]) if len(probabilities) else 0.0
        second = float(probabilities[1]) if len(probabilities) > 1 else 0.0
        self._consistent = self._consistent + 1 if continues else 1
        if 1.0 - float(probabilities.sum()) >= c.unknown_probability:
            return self._say("unknown", "off_map", f"P(unknown) is {1 - probabilities.sum():.2f}")
        if best < c.accept_probability or best - second < c.min_margin:
            # A rival with a third of the best one's probability is the reason; otherwise it is plain lack of evidence.
            if second > best / 3 or best >= c.accept_probability:
                return self._say("rejected", "ambiguous", f"{best:.2f} against {second:.2f}")
            return self._say("rejected", "low_probability", f"{best:.2f}, needed {c.accept_probability:.2f}")
        if c.require_support and not supported:
            return self._say("rejected", "unsupported", f"probability {best:.2f}")
        if self._consistent < c.min_consistent_frames:
            return self._say("rejected", "unconfirmed", f"{self._consistent} of {c.min_consistent_frames}")
        return self._say("accepted", "accepted", f"probability {best:.2f}")

    @staticmethod
    def _say(status: str, reason: str, figures: str) -> tuple[str, str, str]:
        return status, reason, f"{REASONS[reason][:-1]} ({figures})."
