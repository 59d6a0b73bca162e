"""Fits a Calibration on labelled drives: first the evidence of a retrieval, then how far frames err together, then the
posterior."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.recognition.calibration import Calibration, EvidenceModel, Source, Tuning, lower_only
from vpr_ros.recognition.evidence import Retrieval
from vpr_ros.recognition.labelling import LabelledSequence, hide_stretch
from vpr_ros.recognition.logistic import MonotoneMap, fit_monotone, logit, sigmoid
from vpr_ros.recognition.motion import Motion
from vpr_ros.recognition.places import distinct_places
from vpr_ros.recognition.recogniser import Recogniser, RecognitionConfig

MIN_QUERIES = 30
TEMPERS = (0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0)
POSTERIOR_KNOTS = (-10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 13.0)
PRIOR_WEIGHT = 2.0  # pseudo-queries per posterior knot that hold the map where there are no data
CAP_PRIOR_WEIGHT = 10.0


@dataclass(frozen=True, slots=True)
class _Step:
    retrieval: Retrieval
    motion: Motion
    fresh: bool  # the filter was reset before this query
    truth: np.ndarray


@dataclass(frozen=True)
class _Replay:
    recogniser: Recogniser
    steps: list[_Step]


def fit_calibration(
    sequences: Sequence[LabelledSequence],
    radius: float,
    source: Source = "labelled drive",
    config: RecognitionConfig | None = None,
    base: Calibration | None = None,
) -> Calibration:
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
    n_queries = sum(len(s.truth) for s in sequences)
    n_on = sum(len(rows) > 0 for s in sequences for rows in s.truth)
    if n_queries < MIN_QUERIES or (source != "self-matches" and n_on < MIN_QUERIES):
        raise VprError(
            f"calibration has {n_queries} queries, {n_on} of them on the map: give at least {MIN_QUERIES} labelled ones"
        )
    if source == "self-matches":
        config = replace(config, drive_mean_frames=None)
        return _fit_cap(sequences, base or Calibration.default(radius), config, n_queries, n_queries - n_on)
    sequences = _with_off_map(sequences)
    start = replace(Calibration.default(radius), source=source)
    if config.drive_mean_frames is not None:
        start = replace(start, drive_mean_frames=config.drive_mean_frames)
    replays = [_replay(sequence, start, config) for sequence in sequences]
    fitted = replace(start, evidence=_fit_evidence(replays))
    plain, loss, logits = _tune(replays, fitted, with_odometry=False)
    odometry, note = plain, f"without odometry: log-loss {loss:.3f}"
    moving = [replay for replay in replays if any(step.motion.step_m is not None for step in replay.steps)]
    if moving:
        odometry, loss, logits = _tune(moving, fitted, with_odometry=True)
        note += f"; with: {loss:.3f}"
    n_off = sum(len(rows) == 0 for s in sequences for rows in s.truth)
    return replace(fitted, odometry=odometry, plain=plain, n_queries=len(logits), n_off_map=n_off, note=note)


def _tune(
    replays: Sequence[_Replay], calibration: Calibration, with_odometry: bool
) -> tuple[Tuning, float, np.ndarray]:
    """The temper of least log-loss, and the posterior map that goes with it."""
    scored: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    at, best = len(TEMPERS) // 2, -1
    while at != best:  # the loss has one valley: walk down it
        best = at
        for i in (at - 1, at, at + 1):
            if 0 <= i < len(TEMPERS) and i not in scored:
                scored[i] = _outcomes(replays, calibration.evidence, TEMPERS[i], with_odometry)
        at = min(scored, key=lambda i: float(scored[i][0].mean()))
    losses, logits, labels = scored[best]
    temper = TEMPERS[best]
    prior = Calibration.default().plain.posterior
    return Tuning(temper, _fit_posterior(logits, labels, prior, PRIOR_WEIGHT)), float(losses.mean()), logits


def _with_off_map(sequences: Sequence[LabelledSequence]) -> list[LabelledSequence]:
    out = list(sequences)
    for sequence in sequences:
        n = len(sequence.truth)
        if n >= 3 and all(len(rows) for rows in sequence.truth):
            hidden = hide_stretch(sequence, n // 3, 2 * n // 3)
            if len(hidden.keyframes):
                out.append(hidden)
    return out


def _replay(sequence: LabelledSequence, calibration: Calibration, config: RecognitionConfig) -> _Replay:
    """Everything that does not depend on the calibration, once."""
    recogniser = Recogniser(
        sequence.keyframes, calibration, config, parts=sequence.parts, statistics=sequence.statistics
    )
    steps: list[_Step] = []
    for q, descriptor in enumerate(sequence.descriptors):
        pose = None if sequence.T_odom_base is None else sequence.T_odom_base[q]
        retrieval, motion, _ = recogniser.observe(int(sequence.stamps_ns[q]), descriptor, pose)
        if retrieval is not None:
            steps.append(_Step(retrieval, motion, recogniser.fresh, np.asarray(sequence.truth[q], dtype=np.int64)))
    return _Replay(recogniser, steps)


def _fit_evidence(replays: Sequence[_Replay]) -> EvidenceModel:
    features: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    hits = tries = 0.0
    for replay in replays:
        top = replay.recogniser.topology
        for step in replay.steps:
            rows = step.retrieval.rows
            right = np.isin(rows, step.truth)
            wrong = ~right
            if len(step.truth):
                hits += right.sum() / len(step.truth)
                tries += 1
                # Keyframes just beyond the radius are neither right nor evidence of what a wrong place looks like.
                gaps = np.linalg.norm(top.positions[rows][:, None] - top.positions[step.truth][None], axis=-1)
                gaps[top.groups[rows][:, None] != top.groups[step.truth][None]] = np.inf
                wrong &= gaps.min(axis=1) > top.radius
            used = right | wrong
            # Every query counts once for either class, however many keyframes its place has.
            weight = np.where(right, 1.0 / max(int(right.sum()), 1), 1.0 / max(int(wrong.sum()), 1))
            features.append(step.retrieval.features[used])
            labels.append(right[used])
            weights.append(weight[used])
    x, y, w = np.concatenate(features), np.concatenate(labels).astype(float), np.concatenate(weights)
    if not y.any() or y.all():
        which = "true place ever" if not y.any() else "wrong place ever"
        raise VprError(f"calibration is impossible: no {which} came up; check truth and checkpoint")
    knots = [_knots(x[y == 1, column], x[y == 0, column]) for column in range(x.shape[1])]
    fitted = fit_monotone(x, y, w, knots)
    odds = math.log(w[y == 1].sum() / w[y == 0].sum())
    return EvidenceModel(
        replace(fitted, intercept=fitted.intercept - odds), hit_rate=float(np.clip(hits / tries, 0.02, 0.98))
    )


def _knots(right: np.ndarray, wrong: np.ndarray) -> list[float]:
    """Where the two classes change: quantiles of both, no two closer than a fiftieth of their range."""
    q = np.sort(np.r_[np.quantile(right, [0.02, 0.25, 0.5, 0.8, 0.95, 0.99]), np.quantile(wrong, [0.5, 0.9, 0.99])])
    least = max((q[-1] - q[0]) / 50, 1e-6)
    knots = [float(q[0])]
    for value in q[1:]:
        if value - knots[-1] >= least:
            knots.append(float(value))
    return knots if len(knots) > 1 else [knots[0], knots[0] + least]


def _outcomes(
    replays: Sequence[_Replay], evidence: EvidenceModel, temper: float, with_odometry: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per query: -log of the belief at the truth (a proper score), logit of the best place, whether it was right."""
    losses: list[float] = []
    logits: list[float] = []
    labels: list[bool] = []
    for replay in replays:
        belief = replay.recogniser.filter
        for step in replay.steps:
            if step.fresh:
                belief.reset()
            motion = step.motion if with_odometry else Motion(None)
            replay.recogniser.advance(step.retrieval, motion, evidence, temper)
            at_truth = float(belief.belief(step.truth).sum()) if len(step.truth) else belief.off
            losses.append(-math.log(max(at_truth, 1e-6)))
            places = distinct_places(belief, 1)
            if places:
                logits.append(float(logit(np.array(places[0].posterior))))
                labels.append(places[0].row in step.truth)
    return np.array(losses), np.array(logits), np.array(labels, dtype=float)


def _fit_posterior(logits: np.ndarray, labels: np.ndarray, prior: MonotoneMap, weight: float) -> MonotoneMap:
    """Calibrated log-odds from the filter's; between and beyond the data, pseudo-queries hold it to `prior`."""
    knots = np.array(POSTERIOR_KNOTS)
    x = np.r_[logits, knots][:, None]
    y = np.r_[labels, sigmoid(prior(knots[:, None]))]
    w = np.r_[np.ones(len(logits)), np.full(len(knots), weight)]
    return fit_monotone(x, y, w, [POSTERIOR_KNOTS], l2=0.01)


def _fit_cap(
    sequences: Sequence[LabelledSequence], base: Calibration, config: RecognitionConfig, n_queries: int, n_off: int
) -> Calibration:
    modes = {}
    for with_odometry in (False, True):
        if with_odometry and all(s.T_odom_base is None for s in sequences):
            continue
        found = [_own_past(sequence, base, config, with_odometry) for sequence in sequences]
        logits, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
        tuning = base.tuning(with_odometry)
        cap = _fit_posterior(logits, labels, tuning.posterior, CAP_PRIOR_WEIGHT)
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
