"""Fits a Calibration on labelled drives: first the evidence of a retrieval, then how far frames err together, then the
posterior."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.recognition.calibration import Calibration, EvidenceModel, Source, Tuning, lower_only
from vpr_ros.recognition.evidence import Retrieval
from vpr_ros.recognition.labelling import LabelledSequence, hide_stretch
from vpr_ros.recognition.logistic import MonotoneMap, fit_choice, fit_monotone, logit, sigmoid
from vpr_ros.recognition.motion import Motion
from vpr_ros.recognition.places import distinct_places
from vpr_ros.recognition.recogniser import Recogniser, RecognitionConfig
from vpr_ros.recognition.topology import Topology

MIN_QUERIES = 30
TEMPERS = (0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 1.0)
# Streets look alike for longer than a place reaches: frames a place apart are never as good as independent, whatever
# drives through a few cities show.
MAX_TEMPER_BY_WAY = 0.5
LEAST_PROBABILITY = 1e-3  # what was called less probable counts as this much: one surprise must not choose the temper
NAMED_PLACES = 3  # of an answer, when it is scored
NO_PLACE = float(logit(np.array(0.0)))  # the logit of an answer that names none
POSTERIOR_KNOTS = (-10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 13.0)
PRIOR_WEIGHT = 2.0  # pseudo-queries per posterior knot that hold the map where there are no data
CAP_PRIOR_WEIGHT = 10.0


@dataclass(frozen=True, slots=True)
class _Step:
    retrieval: Retrieval
    motion: Motion
    fresh: bool  # the filter was reset before this query
    truth: np.ndarray
    stretch: int  # number of MIN_QUERIES queries in a row of this drive


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
    everything = list(_steps(replays))
    fitted = replace(start, evidence=_fit_evidence(everything))
    folds = _cross_fitted(everything, fitted.evidence)
    plain, loss, logits = _tune(replays, folds, with_odometry=False)
    odometry, note = plain, f"without odometry: log-loss {loss:.3f}"
    moving = [replay for replay in replays if any(step.motion.step_m is not None for step in replay.steps)]
    if moving:
        odometry, loss, logits = _tune(moving, folds, with_odometry=True)
        note += f"; with: {loss:.3f}"
    n_off = sum(len(rows) == 0 for s in sequences for rows in s.truth)
    return replace(fitted, odometry=odometry, plain=plain, n_queries=len(logits), n_off_map=n_off, note=note)


def _tune(
    replays: Sequence[_Replay], folds: Sequence[EvidenceModel], with_odometry: bool
) -> tuple[Tuning, float, np.ndarray]:
    """The temper nearest to 1 whose calibrated answers are within a standard error of the least log-loss (the rule of
    Breiman et al. 1984, over stretches of drives), with that loss and the logits of the best places."""
    scored: dict[int, tuple[np.ndarray, Tuning, np.ndarray]] = {}
    prior = Calibration.default().plain.posterior
    tempers = [one for one in TEMPERS if one <= MAX_TEMPER_BY_WAY or not with_odometry]
    at, best = len(tempers) // 2, -1
    while at != best:  # the loss has one valley: walk down it
        best = at
        for i in (at - 1, at, at + 1):
            if 0 <= i < len(tempers) and i not in scored:
                outcomes = _outcomes(replays, folds, tempers[i], with_odometry)
                posterior = _fit_posterior(outcomes.best, outcomes.right, prior, PRIOR_WEIGHT)
                scored[i] = outcomes.losses(posterior), Tuning(tempers[i], posterior), outcomes.best
        at = min(scored, key=lambda i: float(scored[i][0].mean()))
    least = scored[best][0]
    error = float(least.std()) / math.sqrt(len(least))
    good = [one for one in scored.values() if one[0].mean() <= least.mean() + error]
    losses, tuning, logits = min(good, key=lambda one: abs(math.log(one[1].temper)))
    return tuning, float(losses.mean()), logits


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
            truth = np.asarray(sequence.truth[q], dtype=np.int64)
            steps.append(_Step(retrieval, motion, recogniser.fresh, truth, len(steps) // MIN_QUERIES))
    return _Replay(recogniser, steps)


def _steps(replays: Sequence[_Replay]) -> Iterator[tuple[Topology, _Step]]:
    for replay in replays:
        for step in replay.steps:
            yield replay.recogniser.topology, step


def _cross_fitted(everything: Sequence[tuple[Topology, _Step]], whole: EvidenceModel) -> list[EvidenceModel]:
    """For even and for odd stretches, evidence fitted on the others: on what it has seen itself it is too sure.

    Drives along the same streets have them in stretches of the same number. `whole` where the others do not suffice.
    """
    models: list[EvidenceModel] = []
    for fold in range(2):
        others = [(topology, step) for topology, step in everything if step.stretch % 2 != fold]
        try:
            models.append(_fit_evidence(others))
        except VprError:
            models.append(whole)
    return models


def _fit_evidence(steps: Sequence[tuple[Topology, _Step]]) -> EvidenceModel:
    """The map under which Bayes' rule, as the filter applies it, chooses best between the retrieved keyframes, the
    others, and being off the map.

    Of a query's right keyframes the most similar one is to be chosen; the others, and those just beyond the radius, are
    neither right nor evidence of what a wrong place looks like.
    """
    alternatives = [(top.n, step, *_alternatives(top, step)) for top, step in steps]
    alternatives = [one for one in alternatives if one[2].any()]
    features = [step.retrieval.features[used] for _, step, used, _ in alternatives]
    chosen = [right[used] for *_, used, right in alternatives]
    n = np.array([n for n, *_ in alternatives], dtype=float)
    retrieved = [len(step.retrieval.rows) for _, step, *_ in alternatives]
    on = np.array([len(step.truth) > 0 for _, step, *_ in alternatives])
    hits = np.array([one.any() for one in chosen])
    y = np.concatenate(chosen) if chosen else np.empty(0, dtype=bool)
    if not y.any() or y.all():
        which = "true place ever" if not y.any() else "wrong place ever"
        raise VprError(f"calibration is impossible: no {which} came up; check truth and checkpoint")
    x = np.concatenate(features)
    queries = np.repeat(np.arange(len(features)), [len(one) for one in features])
    best_wrong = np.concatenate([one[~right][:1] for one, right in zip(features, chosen, strict=True)])
    knots = [_knots(x[y, column], best_wrong[:, column]) for column in range(x.shape[1])]
    hit_rate = float(np.clip(hits[on].mean(), 0.02, 0.98))
    # The prior of the filter: off the map or on it, and on it anywhere alike.
    unscored = EvidenceModel(MonotoneMap(0.0, (), ()), hit_rate)
    levels = [unscored.log_ratios(np.empty((k, 0)), int(m)) for k, m in zip(retrieved, n.tolist(), strict=True)]
    prior = np.array([ratios[0] for ratios, _ in levels]) - np.log(2 * n)
    floors = np.array([floor for _, floor in levels])
    outside = np.log(0.5 + 0.5 * (1 - np.array(retrieved) / n) * np.exp(floors))
    # Frames in a row are not independent: a stretch of them weighs against the prior as one observation.
    share = float(on.mean())
    weights = np.where(on, 0.5 / share, 0.5 / max(1 - share, 1e-9))
    return EvidenceModel(fit_choice(x, queries, y, prior[queries], outside, weights, knots, l2=MIN_QUERIES), hit_rate)


def _alternatives(topology: Topology, step: _Step) -> tuple[np.ndarray, np.ndarray]:
    """Which retrieved rows (k,) take part in the choice, and which one is right."""
    rows = step.retrieval.rows
    used, right = np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    if len(step.truth):
        right[np.flatnonzero(np.isin(rows, step.truth))[:1]] = True
        gaps = np.linalg.norm(topology.positions[rows][:, None] - topology.positions[step.truth][None], axis=-1)
        gaps[topology.groups[rows][:, None] != topology.groups[step.truth][None]] = np.inf
        used = (gaps.min(axis=1) > topology.radius) | right
    return used, right


def _knots(right: np.ndarray, wrong: np.ndarray) -> list[float]:
    """Where the two classes change: quantiles of both, no two closer than a fiftieth of their range."""
    q = np.sort(np.r_[np.quantile(right, [0.02, 0.25, 0.5, 0.8, 0.95, 0.99]), np.quantile(wrong, [0.5, 0.9, 0.99])])
    least = max((q[-1] - q[0]) / 50, 1e-6)
    knots = [float(q[0])]
    for value in q[1:]:
        if value - knots[-1] >= least:
            knots.append(float(value))
    return knots if len(knots) > 1 else [knots[0], knots[0] + least]


@dataclass(frozen=True)
class _Outcomes:
    """What the filter made of queries, before calibration: logits of places."""

    stretches: np.ndarray  # (Q,) number of the stretch: MIN_QUERIES of one drive
    best: np.ndarray  # (Q,) of the best place
    right: np.ndarray  # (Q,) 1.0 where that is a true one
    true: np.ndarray  # (Q,) of a true place; -inf where none was named; NaN for a query off the map

    def losses(self, posterior: MonotoneMap) -> np.ndarray:
        """Of each stretch, the mean -log of the calibrated probability of what is true: a place, or being off it."""
        off = np.isnan(self.true)
        p = np.where(off, sigmoid(-posterior(self.best[:, None])), sigmoid(posterior(self.true[:, None])))
        p = np.where(np.isneginf(self.true), 0.0, p)
        loss = -np.log(np.maximum(p, LEAST_PROBABILITY))
        return np.bincount(self.stretches, loss) / np.bincount(self.stretches)


def _outcomes(
    replays: Sequence[_Replay], folds: Sequence[EvidenceModel], temper: float, with_odometry: bool
) -> _Outcomes:
    found: list[tuple[int, int, float, bool, float]] = []
    for number, replay in enumerate(replays):
        belief = replay.recogniser.filter
        for step in replay.steps:
            if step.fresh:
                belief.reset()
            motion = step.motion if with_odometry else Motion(None)
            replay.recogniser.advance(step.retrieval, motion, folds[step.stretch % 2], temper)
            places = distinct_places(belief, NAMED_PLACES)
            logits = logit(np.array([place.posterior for place in places]))
            right = np.isin([place.row for place in places], step.truth)
            true = float(logits[right].max(initial=-np.inf)) if len(step.truth) else np.nan
            best, hit = (float(logits[0]), bool(right[0])) if places else (NO_PLACE, False)
            found.append((number, step.stretch, best, hit, true))
    drives, stretches, best, right, true = (np.array(column) for column in zip(*found, strict=True))
    return _Outcomes(
        np.unique([drives, stretches], axis=1, return_inverse=True)[1].ravel(), best, right.astype(float), true
    )


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
