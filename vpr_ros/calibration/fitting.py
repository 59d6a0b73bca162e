"""Fits a Calibration on labelled drives: first the evidence of a retrieval, then how far frames err together, then the
posterior."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vpr_ros.calibration.evidence_fitting import cross_fitted, fit_evidence
from vpr_ros.calibration.labelling import LabelledSequence, hide_stretch, path_of
from vpr_ros.calibration.posterior import fit_posterior
from vpr_ros.calibration.replay import Replay, outcomes_of, replay, steps_of
from vpr_ros.calibration.self_matching import fit_cap
from vpr_ros.calibration.splitting import frames_in_view
from vpr_ros.calibration.thresholds import Judged, judge, threshold_table
from vpr_ros.configuration import DecisionConfig, RecognitionConfig
from vpr_ros.errors import VprError
from vpr_ros.recognition.calibration import Calibration, EvidenceModel, Source, Tuning

MIN_QUERIES = 30
TEMPERS = (0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 1.0)
# Streets look alike for longer than a place reaches: frames a place apart are never as good as independent, whatever
# drives through a few cities show.
MAX_TEMPER_BY_WAY = 0.5
PRIOR_WEIGHT = 2.0  # pseudo-queries per posterior knot that hold the map where there are no data


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
    replays = [replay(sequence, start, config) for sequence in sequences]
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
    return Fitted(replace(fitted, odometry=odometry, plain=plain, note=note, **counts), judged)


def _tune(
    replays: Sequence[Replay], folds: Sequence[EvidenceModel], with_odometry: bool, decision: DecisionConfig
) -> tuple[Tuning, float, Judged]:
    """The temper nearest to 1 whose calibrated answers are within a standard error of the least log-loss (the rule of
    Breiman et al. 1984, over stretches of drives), with that loss and the answers of its thresholds."""
    scored: dict[int, tuple[np.ndarray, Tuning]] = {}
    prior = Calibration.default().plain.posterior
    tempers = [one for one in TEMPERS if one <= MAX_TEMPER_BY_WAY or not with_odometry]
    at, best = len(tempers) // 2, -1
    while at != best:  # the loss has one valley: walk down it
        best = at
        for i in (at - 1, at, at + 1):
            if 0 <= i < len(tempers) and i not in scored:
                outcomes = outcomes_of(replays, folds, tempers[i], with_odometry)
                posterior = fit_posterior(outcomes.best, outcomes.right, prior, PRIOR_WEIGHT)
                scored[i] = outcomes.losses(posterior), Tuning(tempers[i], posterior)
        at = min(scored, key=lambda i: float(scored[i][0].mean()))
    least = scored[best][0]
    error = float(least.std()) / math.sqrt(len(least))
    good = [one for one in scored.values() if one[0].mean() <= least.mean() + error]
    losses, tuning = min(good, key=lambda one: abs(math.log(one[1].temper)))
    answers = judge(replays, folds, tuning.temper, with_odometry, decision, PRIOR_WEIGHT)
    return replace(tuning, thresholds=threshold_table(answers)), float(losses.mean()), answers


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
