"""The evidence of a retrieval, fitted on labelled drives."""

from collections.abc import Sequence

import numpy as np

from vpr_ros.calibration.likelihood import fit_choice
from vpr_ros.calibration.replay import STRETCH, Step
from vpr_ros.errors import VprError
from vpr_ros.recognition.calibration import EvidenceModel
from vpr_ros.recognition.local.readings import NOTHING
from vpr_ros.recognition.monotone import MonotoneMap
from vpr_ros.recognition.topology import Topology


def cross_fitted(everything: Sequence[tuple[Topology, Step]], whole: EvidenceModel) -> list[EvidenceModel]:
    """For even and for odd stretches, evidence fitted on the others: on what it has seen itself it is too sure.

    Drives along the same streets have them in stretches of the same number. `whole` where the others do not suffice.
    """
    models: list[EvidenceModel] = []
    for fold in range(2):
        others = [(topology, step) for topology, step in everything if step.stretch % 2 != fold]
        try:
            models.append(fit_evidence(others))
        except VprError:
            models.append(whole)
    return models


def fit_evidence(steps: Sequence[tuple[Topology, Step]]) -> EvidenceModel:
    """The map under which Bayes' rule, as the filter applies it, chooses best between the retrieved keyframes, the
    others, and being off the map.

    Of a query's right keyframes the most similar one is to be chosen; the others, and those just beyond the radius, are
    neither right nor evidence of what a wrong place looks like.
    """
    alternatives = [(top.n, step, *_alternatives(top, step)) for top, step in steps]
    alternatives = [one for one in alternatives if one[2].any()]
    features = [step.retrieval.evidence[used] for _, step, used, _ in alternatives]
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
    return EvidenceModel(fit_choice(x, queries, y, prior[queries], outside, weights, knots, l2=STRETCH), hit_rate)


def _alternatives(topology: Topology, step: Step) -> tuple[np.ndarray, np.ndarray]:
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
    """Where the two classes change: quantiles of both, no two closer than a fiftieth of their range.

    What was not read of a keyframe is left aside.
    """
    right, wrong = right[right > NOTHING], wrong[wrong > NOTHING]
    if not len(right) or not len(wrong):
        right = wrong = np.array([0.0, 1.0])
    q = np.sort(np.r_[np.quantile(right, [0.02, 0.25, 0.5, 0.8, 0.95, 0.99]), np.quantile(wrong, [0.5, 0.9, 0.99])])
    least = max((q[-1] - q[0]) / 50, 1e-6)
    knots = [float(q[0])]
    for value in q[1:]:
        if value - knots[-1] >= least:
            knots.append(float(value))
    return knots if len(knots) > 1 else [knots[0], knots[0] + least]
