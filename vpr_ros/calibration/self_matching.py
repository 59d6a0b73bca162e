"""A limit of probabilities from matching one drive against itself: its own past, or half of its frames."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vpr_ros.calibration.labelling import LabelledSequence
from vpr_ros.calibration.posterior import fit_limit
from vpr_ros.calibration.replay import replay
from vpr_ros.configuration import RecognitionConfig
from vpr_ros.recognition.calibration import Calibration, Tuning, lower_only, readings_of
from vpr_ros.recognition.monotone import MonotoneMap, logit
from vpr_ros.recognition.motion import Motion
from vpr_ros.recognition.places import Place
from vpr_ros.recognition.recogniser import Recogniser

CAP_PRIOR_WEIGHT = 15.0


def fit_cap(
    sequences: Sequence[LabelledSequence], base: Calibration, config: RecognitionConfig, n_queries: int, n_off: int
) -> Calibration:
    """`base` with its probabilities limited by what the sequences show.

    Without odometry that limits both readings, with odometry each by its own pass.
    """
    plain, mistaken = _cap(sequences, base, config, with_odometry=False)
    odometry = plain
    if any(sequence.T_odom_base is not None for sequence in sequences):
        odometry, mistaken = _cap(sequences, base, config, with_odometry=True)
    note = f"on top of: {base.source}; {mistaken} of the queries off the map looked like another place of the drive"
    lowered = {"odometry": lower_only(base.odometry, odometry), "plain": lower_only(base.plain, plain)}
    local = base.local
    if local is not None:  # what looks alike to descriptors may not do so to local features: the careful side
        of_local = {"odometry": lower_only(local.odometry, odometry), "plain": lower_only(local.plain, plain)}
        local = replace(local, **of_local)
    return replace(
        base,
        source="self-matches",
        **lowered,
        local=local,
        n_queries=n_queries,
        n_off_map=n_off,
        note=note,
    )


def _cap(
    sequences: Sequence[LabelledSequence], base: Calibration, config: RecognitionConfig, with_odometry: bool
) -> tuple[MonotoneMap, int]:
    """The limit, and how many queries off the map were given a place that was more probable than not."""
    found = [
        (_own_past if sequence.one_drive else _other_half)(sequence, base, config, with_odometry)
        for sequence in sequences
    ]
    logits, labels, on_map = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return fit_limit(logits, labels, CAP_PRIOR_WEIGHT), int((logits[~on_map] >= 0).sum())


def _other_half(
    sequence: LabelledSequence, base: Calibration, config: RecognitionConfig, with_odometry: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stated log-odds, whether right, and whether on the map, of queries that are not among the keyframes."""
    one = replay(sequence, base, config)
    found: list[tuple[float, bool, bool]] = []
    for step in one.steps:
        if step.fresh:
            one.recogniser.reset("")
        motion = step.motion if with_odometry else Motion(None)
        one.recogniser.advance(step.retrieval, motion, base.evidence, base.tuning(motion.step_m is not None).temper)
        places = one.recogniser.places
        if places and step.known and not (one.repeats and len(step.truth)):
            stated = _stated(base.tuning(with_odometry), places)
            found.append((stated, places[0].row in step.truth, len(step.truth) > 0))
    return _columns(found)


def _own_past(
    sequence: LabelledSequence, base: Calibration, config: RecognitionConfig, with_odometry: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of one drive that is matched against what it has mapped so far."""
    frames = sequence.keyframes
    recogniser = Recogniser(None, base, config, dim=sequence.descriptors.shape[1], parts=sequence.parts)
    found: list[tuple[float, bool, bool]] = []
    for q, descriptor in enumerate(sequence.descriptors):
        pose = sequence.T_odom_base[q] if with_odometry and sequence.T_odom_base is not None else None
        retrieval, motion, _ = recogniser.observe(int(sequence.stamps_ns[q]), descriptor, pose)
        if retrieval is not None:
            tuning = base.tuning(motion.step_m is not None)
            recogniser.advance(retrieval, motion, base.evidence, tuning.temper)
            places = recogniser.places
            if places:
                stated, truth = _stated(base.tuning(with_odometry), places), sequence.truth[q]
                found.append((stated, places[0].row in truth, len(truth) > 0))
        recogniser.insert(
            int(frames.ids[q]),
            int(frames.sessions[q]),
            int(frames.stamps_ns[q]),
            descriptor,
            frames.T_odom_base[q],
            frames.T_map_base[q],
        )
    return _columns(found)


def _stated(tuning: Tuning, places: Sequence[Place]) -> float:
    """Log-odds of the first of the places before any limit."""
    return float(logit(tuning.uncapped(readings_of(places)))[0])


def _columns(found: list[tuple[float, bool, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    logits, labels, on_map = (np.array(column) for column in zip(*found, strict=True)) if found else np.zeros((3, 0))
    return logits, labels.astype(float), on_map.astype(bool)
