"""Labelled drives run through the recogniser once: what each query retrieved, and what the filter makes of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.calibration.labelling import LabelledSequence
from vpr_ros.recognition.calibration import Calibration, EvidenceModel
from vpr_ros.recognition.evidence import Retrieval
from vpr_ros.recognition.monotone import MonotoneMap, logit, sigmoid
from vpr_ros.recognition.motion import Motion
from vpr_ros.recognition.places import distinct_places
from vpr_ros.recognition.recogniser import Recogniser, RecognitionConfig
from vpr_ros.recognition.topology import Topology

STRETCH = 30  # queries in a row of a drive that are taken for one observation
LEAST_PROBABILITY = 1e-3  # what was called less probable counts as this much: one surprise must not choose the temper
NAMED_PLACES = 3  # of an answer, when it is scored
NO_PLACE = float(logit(np.array(0.0)))  # the logit of an answer that names none


@dataclass(frozen=True, slots=True)
class Step:
    retrieval: Retrieval
    motion: Motion
    fresh: bool  # the filter was reset before this query
    truth: np.ndarray
    known: bool  # whether the truth is
    stretch: int  # number of STRETCH queries in a row of this drive


@dataclass(frozen=True)
class Replay:
    recogniser: Recogniser
    steps: list[Step]
    repeats: bool  # the queries are those of the replay before, against less of the map


def replay(sequence: LabelledSequence, calibration: Calibration, config: RecognitionConfig) -> Replay:
    """Everything that does not depend on the calibration, once."""
    recogniser = Recogniser(
        sequence.keyframes, calibration, config, parts=sequence.parts, statistics=sequence.statistics
    )
    steps: list[Step] = []
    for q, descriptor in enumerate(sequence.descriptors):
        pose = None if sequence.T_odom_base is None else sequence.T_odom_base[q]
        retrieval, motion, _ = recogniser.observe(int(sequence.stamps_ns[q]), descriptor, pose)
        if retrieval is not None:
            truth = np.asarray(sequence.truth[q], dtype=np.int64)
            known = sequence.known is None or bool(sequence.known[q])
            steps.append(Step(retrieval, motion, recogniser.fresh, truth, known, len(steps) // STRETCH))
    return Replay(recogniser, steps, sequence.repeats)


def steps_of(replays: Sequence[Replay]) -> Iterator[tuple[Topology, Step]]:
    """The queries whose truth is known, each with the topology of its map."""
    for replay in replays:
        for step in replay.steps:
            if step.known:
                yield replay.recogniser.topology, step


@dataclass(frozen=True)
class Outcomes:
    """What the filter made of queries whose truth is known, before calibration: logits of places."""

    stretches: np.ndarray  # (Q,) number of the stretch: STRETCH of one drive
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


def outcomes_of(
    replays: Sequence[Replay], folds: Sequence[EvidenceModel], temper: float, with_odometry: bool
) -> Outcomes:
    found: list[tuple[int, int, float, bool, float]] = []
    for number, replay in enumerate(replays):
        belief = replay.recogniser.filter
        for step in replay.steps:
            if step.fresh:
                belief.reset()
            motion = step.motion if with_odometry else Motion(None)
            replay.recogniser.advance(step.retrieval, motion, folds[step.stretch % 2], temper)
            if not step.known:
                continue
            places = distinct_places(belief, NAMED_PLACES)
            logits = logit(np.array([place.posterior for place in places]))
            right = np.isin([place.row for place in places], step.truth)
            true = float(logits[right].max(initial=-np.inf)) if len(step.truth) else np.nan
            best, hit = (float(logits[0]), bool(right[0])) if places else (NO_PLACE, False)
            found.append((number, step.stretch, best, hit, true))
    drives, stretches, best, right, true = (np.array(column) for column in zip(*found, strict=True))
    return Outcomes(
        np.unique([drives, stretches], axis=1, return_inverse=True)[1].ravel(), best, right.astype(float), true
    )
