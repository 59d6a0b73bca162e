"""Fits a Calibration on labelled drives: first the evidence of a retrieval, then how far frames err together, then the
posterior."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vpr_ros.calibration.evidence_fitting import cross_fitted, fit_evidence
from vpr_ros.calibration.labelling import LabelledSequence, hide_stretch, path_of
from vpr_ros.calibration.posterior import fit_reading
from vpr_ros.calibration.replay import Outcomes, Replay, compared, outcomes_of, replay, steps_of
from vpr_ros.calibration.self_matching import fit_cap
from vpr_ros.calibration.splitting import frames_in_view
from vpr_ros.calibration.thresholds import Judged, judge, threshold_table
from vpr_ros.configuration import DecisionConfig, RecognitionConfig
from vpr_ros.errors import VprError
from vpr_ros.recognition.calibration import Calibration, EvidenceModel, LocalWeighing, Source, Tuning

MIN_QUERIES = 30
TEMPERS = (0.07, 0.15, 0.3, 0.6)  # neighbouring frames are never independent: not 1
SLACK = 0.05  # of the least log-loss, that a smaller temper may cost
LEAST_PROBABILITY = 1e-3  # what was called less probable counts as this much: one surprise must not choose the temper


Reading = Literal["odometry", "plain"]  # of frames with and without odometry


@dataclass(frozen=True)
class Fitted:
    """A calibration, and the answers behind its thresholds: without the drive's odometry, and with it where it has any.

    Each of these queries was answered by a fit that had not seen its stretch.
    """

    calibration: Calibration
    judged: dict[Reading, Judged]


def fit_calibration(
    sequences: Sequence[LabelledSequence],
    radius: float,
    source: Source = "labelled drive",
    config: RecognitionConfig | None = None,
    base: Calibration | None = None,
) -> Calibration:
    """Calibration for places of `radius` (metres; frames for pose-less maps) from labelled drives: see `fit`."""
    return fit(sequences, radius, source, config, base).calibration


def fit(
    sequences: Sequence[LabelledSequence],
    radius: float,
    source: Source = "labelled drive",
    config: RecognitionConfig | None = None,
    base: Calibration | None = None,
) -> Fitted:
    """Calibration for places of `radius` (metres; frames for pose-less maps) from labelled drives.

    Sources "checkpoint" (validation cities across conditions) and "labelled drive" fit everything anew. "self-matches"
    keeps the evidence model and posterior of `base` (the default one without it) and only adds a cap: it can lower a
    probability, never raise one. Drives without any off-map query are also replayed against a map that lacks their
    middle third, since a calibration that has never seen "not in the map" would always be too sure.

    Descriptors are compared as `config.drive_mean_frames` says (None: DRIVE_MEAN_FRAMES; self-matches always as those
    of `base`), and the calibration records it.

    Raises VprError when there are fewer than MIN_QUERIES queries, or, except for self-matches, fewer that lie on the
    map.
    """
    config = replace(config or RecognitionConfig(), place_radius=radius)
    n_on, n_off = (sum(counts) for counts in zip(*(s.counts() for s in sequences), strict=True))
    n_queries = n_on + n_off
    if n_queries < MIN_QUERIES or (source != "self-matches" and n_on < MIN_QUERIES):
        doubt = "" if n_on else "; does the truth fit this map?"
        raise VprError(
            f"calibration has {n_queries} queries, {n_on} of them on the map: give at least {MIN_QUERIES} labelled "
            f"ones{doubt}"
        )
    if source == "self-matches":
        config = replace(config, drive_mean_frames=None)
        return Fitted(fit_cap(sequences, base or Calibration.default(radius), config, n_queries, n_off), {})
    sequences = _with_off_map(sequences)
    start = replace(Calibration.default(radius), source=source)
    if config.drive_mean_frames is not None:
        start = replace(start, drive_mean_frames=config.drive_mean_frames)
    replays = [replay(one, start, replace(config, place_radius=one.radius or radius)) for one in sequences]
    everything = list(steps_of(replays))
    fitted = replace(start, evidence=fit_evidence(everything))
    folds = cross_fitted(everything, fitted.evidence)
    plain, loss, answers = _tune(replays, folds, False, config.decision)
    judged: dict[Reading, Judged] = {"plain": answers}
    odometry, note = plain, f"without odometry: log-loss {loss:.3f}"
    moving = [replay for replay in replays if any(step.motion.step_m is not None for step in replay.steps)]
    if moving:
        odometry, loss, judged["odometry"] = _tune(moving, folds, True, config.decision)
        note += f"; with: {loss:.3f}"
    n_on, n_off = (sum(counts) for counts in zip(*(s.counts() for s in sequences), strict=True))
    counts = {"n_queries": n_on + n_off, "n_off_map": n_off}
    fitted = replace(fitted, odometry=odometry, plain=plain, note=note, **counts)
    if all(sequence.comparisons is not None for sequence in sequences):
        fitted = replace(fitted, local=fit_local(sequences, fitted, config))
    return Fitted(fitted, judged)


def fit_local(
    sequences: Sequence[LabelledSequence],
    base: Calibration,
    config: RecognitionConfig | None = None,
) -> LocalWeighing:
    """How local features are weighed beside descriptors, from labelled drives that have comparisons of them.

    `base` is the calibration of descriptors alone: it nominates what is compared, and is the evidence of frames that
    rest. Raises VprError where drives have no comparisons, or of several kinds.
    """
    config = replace(config or RecognitionConfig(), drive_mean_frames=None)
    kinds = {None if one.comparisons is None else one.comparisons.pictures.kind for one in sequences}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None:
        raise VprError("local features cannot be weighed: not all drives have some of one kind")
    sequences, replays = _with_off_map(sequences), list[Replay]()
    for one in sequences:
        own = replace(config, place_radius=one.radius or base.radius)
        replays.append(compared(replay(one, base, own), one, base.evidence, config.local_candidates))
    everything = [(top, step) for top, step in steps_of(replays) if step.retrieval.local is not None]
    evidence = fit_evidence(everything)
    folds = cross_fitted(everything, evidence)
    plain, _, _ = _tune(replays, folds, False, config.decision, base.evidence)
    moving = [one for one in replays if any(step.motion.step_m is not None for step in one.steps)]
    odometry = _tune(moving, folds, True, config.decision, base.evidence)[0] if moving else plain
    return LocalWeighing(evidence, odometry, plain, kind)


def _tune(
    replays: Sequence[Replay],
    folds: Sequence[EvidenceModel],
    with_odometry: bool,
    decision: DecisionConfig,
    resting: EvidenceModel | None = None,
) -> tuple[Tuning, float, Judged]:
    """The least temper at which the calibrated answers have about the least log-loss, with that loss and the answers of
    its thresholds.

    Streets that look like mapped ones do so for longer than most drives show: where it costs nothing, frames are taken
    for more dependent. `resting` as in `outcomes_of`.
    """
    scored: list[tuple[float, Tuning, Outcomes]] = []
    start = Calibration.default().tuning(with_odometry)
    for temper in TEMPERS:
        tuning = replace(start, temper=temper)
        outcomes = outcomes_of(replays, folds, temper, with_odometry, resting)
        scored.append((_loss(tuning, outcomes), tuning, outcomes))
    enough = (1 + SLACK) * min(loss for loss, _, _ in scored)
    loss, tuning, outcomes = next(one for one in scored if one[0] <= enough)
    answers = judge(outcomes, tuning, decision)
    tuning = fit_reading(tuning, outcomes, np.ones(len(outcomes.right), dtype=bool))
    return replace(tuning, thresholds=threshold_table(answers)), loss, answers


def _loss(tuning: Tuning, outcomes: Outcomes) -> float:
    """The mean -log of the probability of what is so: the best place is right, or it is not.

    Each half of the stretches is read by maps fitted on the other half.
    """
    p = np.empty(len(outcomes.right))
    for odd in (False, True):
        here = outcomes.odd == odd
        p[here] = fit_reading(tuning, outcomes, ~here).uncapped(outcomes.readings[here])
    surprise = -np.log(np.maximum(np.where(outcomes.right, p, 1 - p), LEAST_PROBABILITY))
    return float(np.average(surprise, weights=outcomes.weights(np.ones(len(p), dtype=bool))))


def _with_off_map(sequences: Sequence[LabelledSequence]) -> list[LabelledSequence]:
    out: list[LabelledSequence] = []
    for sequence in sequences:
        out.append(sequence)
        n = len(sequence.truth)
        if n >= 3 and not sequence.counts()[1]:
            # Metres say where a place ends. Where frames are counted, what is beyond the last one may still be in view.
            margin = frames_in_view(sequence.descriptors) if path_of(sequence.keyframes) is None else 0
            hidden = hide_stretch(sequence, n // 3, 2 * n // 3, margin)
            if len(hidden.keyframes):
                out.append(hidden)
    return out
