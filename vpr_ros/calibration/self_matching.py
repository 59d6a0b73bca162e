"""A limit of probabilities from matching one drive against itself: its own past, or half of its frames."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vpr_ros.calibration.labelling import LabelledSequence
from vpr_ros.calibration.posterior import fit_posterior
from vpr_ros.calibration.replay import replay
from vpr_ros.configuration import RecognitionConfig
from vpr_ros.recognition.calibration import Calibration, lower_only
from vpr_ros.recognition.monotone import logit
from vpr_ros.recognition.motion import Motion
from vpr_ros.recognition.places import distinct_places
from vpr_ros.recognition.recogniser import Recogniser

CAP_PRIOR_WEIGHT = 10.0


def fit_cap(
    sequences: Sequence[LabelledSequence], base: Calibration, config: RecognitionConfig, n_queries: int, n_off: int
) -> Calibration:
    """`base` with its probabilities limited by what the sequences show; without odometry, that limits both readings."""
    modes = {}
    for with_odometry in (False, True):
        moving = with_odometry and any(s.T_odom_base is not None for s in sequences)
        found = [
            (_own_past if sequence.one_drive else _other_half)(sequence, base, config, moving) for sequence in sequences
        ]
        logits, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
        tuning = base.tuning(with_odometry)
        cap = fit_posterior(logits, labels, tuning.posterior, CAP_PRIOR_WEIGHT)
        modes["odometry" if with_odometry else "plain"] = lower_only(tuning, cap)
    note = f"on top of: {base.source}"
    return replace(base, source="self-matches", n_queries=n_queries, n_off_map=n_off, note=note, **modes)


def _other_half(
    sequence: LabelledSequence, base: Calibration, config: RecognitionConfig, with_odometry: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of the queries of a drive against keyframes that they are not among."""
    one = replay(sequence, base, config)
    logits: list[float] = []
    labels: list[bool] = []
    for step in one.steps:
        if step.fresh:
            one.recogniser.filter.reset()
        motion = step.motion if with_odometry else Motion(None)
        one.recogniser.advance(step.retrieval, motion, base.evidence, base.tuning(motion.step_m is not None).temper)
        places = distinct_places(one.recogniser.filter, 1)
        if places and step.known and not (one.repeats and len(step.truth)):
            logits.append(float(logit(np.array(places[0].posterior))))
            labels.append(places[0].row in step.truth)
    return np.array(logits), np.array(labels, dtype=float)


def _own_past(
    sequence: LabelledSequence, base: Calibration, config: RecognitionConfig, with_odometry: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of one drive that is matched against what it has mapped so far."""
    frames = sequence.keyframes
    recogniser = Recogniser(None, base, config, dim=sequence.descriptors.shape[1], parts=sequence.parts)
    logits: list[float] = []
    labels: list[bool] = []
    for q, descriptor in enumerate(sequence.descriptors):
        pose = sequence.T_odom_base[q] if with_odometry and sequence.T_odom_base is not None else None
        retrieval, motion, _ = recogniser.observe(int(sequence.stamps_ns[q]), descriptor, pose)
        if retrieval is not None:
            tuning = base.tuning(motion.step_m is not None)
            recogniser.advance(retrieval, motion, base.evidence, tuning.temper)
            places = distinct_places(recogniser.filter, 1)
            if places:
                logits.append(float(logit(np.array(places[0].posterior))))
                labels.append(places[0].row in sequence.truth[q])
        recogniser.insert(
            int(frames.ids[q]),
            int(frames.sessions[q]),
            int(frames.stamps_ns[q]),
            descriptor,
            frames.T_odom_base[q],
            frames.T_map_base[q],
        )
    return np.array(logits), np.array(labels, dtype=float)
