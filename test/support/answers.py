"""Recognitions to draw and to send."""

import numpy as np

from vpr_ros.geometry import planar_transform
from vpr_ros.recognition.decision import Decision, DecisionConfig
from vpr_ros.recognition.types import Hypothesis, Recognition

STAMP_NS = 1_790_000_000_123_456_789


def recognition(probabilities=(), poses=True, stamp_ns=STAMP_NS):
    """An answer with these places, decided as the product decides; keyframe ids from 100 on, 10 m apart."""
    places = tuple(
        Hypothesis(
            keyframe_id=100 + i,
            row=i,
            probability=p,
            similarity=0.8 - 0.1 * i,
            T_map_base=planar_transform(10.0 * i, 2.0, 0.5) if poses else None,
            stamp_ns=1_000 + i,
        )
        for i, p in enumerate(probabilities)
    )
    status, reason, message = Decision(DecisionConfig()).decide(np.array(probabilities), continues=False)
    return Recognition(stamp_ns, places, 1.0 - sum(probabilities), status, reason, message, ())


ACCEPTED, REJECTED, UNKNOWN = (0.97, 0.01), (0.6, 0.1), (0.2, 0.1)
