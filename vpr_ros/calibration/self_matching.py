"""A limit of probabilities from matching one drive against its own past."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vpr_ros.calibration.labelling import LabelledSequence
from vpr_ros.calibration.posterior import fit_posterior
from vpr_ros.configuration import RecognitionConfig
from vpr_ros.errors import VprError
from vpr_ros.recognition.calibration import Calibration, lower_only
from vpr_ros.recognition.monotone import logit
from vpr_ros.recognition.places import distinct_places
from vpr_ros.recognition.recogniser import Recogniser

CAP_PRIOR_WEIGHT = 10.0


def fit_cap(
    sequences: Sequence[LabelledSequence], base: Calibration, config: RecognitionConfig, n_queries: int, n_off: int
) -> Calibration:
    modes = {}
    for with_odometry in (False, True):
        if with_odometry and all(s.T_odom_base is None for s in sequences):
            continue
        found = [_own_past(sequence, base, config, with_odometry) for sequence in sequences]
        logits, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
        tuning = base.tuning(with_odometry)
        cap = fit_posterior(logits, labels, tuning.posterior, CAP_PRIOR_WEIGHT)
        modes["odometry" if with_odometry else "plain"] = lower_only(tuning, cap)
    note = f"on top of: {base.source}"
    return replace(base, source="self-matches", n_queries=n_queries, n_off_map=n_off, note=note, **modes)


def _own_past(
    sequence: LabelledSequence, base: Calibration, config: RecognitionConfig, with_odometry: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of one drive that is matched against what it has mapped so far."""
    if not sequence.one_drive:
        raise VprError("self-matches come from one drive: build the sequence with self_matches()")
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
