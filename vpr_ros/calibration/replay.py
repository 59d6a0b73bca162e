"""Labelled drives run through the recogniser once: what each query retrieved, and what the filter makes of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.calibration.labelling import LabelledSequence
from vpr_ros.recognition.calibration import Calibration, EvidenceModel, readings_of
from vpr_ros.recognition.evidence import Retrieval
from vpr_ros.recognition.local.readings import choose_candidates, local_readings
from vpr_ros.recognition.motion import Motion
from vpr_ros.recognition.places import Place, supports
from vpr_ros.recognition.recogniser import Recogniser, RecognitionConfig
from vpr_ros.recognition.topology import Topology

STRETCH = 30  # queries in a row of a drive that are taken for one observation
NO_PLACE = Place(-1, 0.0, 0.0, 0.0, -10.0, 0.0)  # the best one of an answer that names none


@dataclass(frozen=True, slots=True)
class Step:
    retrieval: Retrieval
    motion: Motion
    fresh: bool  # the filter was reset before this query
    truth: np.ndarray
    known: bool  # whether the truth is
    stretch: int  # number of STRETCH queries in a row of this drive
    query: int  # number in the drive


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
            steps.append(Step(retrieval, motion, recogniser.fresh, truth, known, len(steps) // STRETCH, q))
    return Replay(recogniser, steps, sequence.repeats)


def compared(one: Replay, sequence: LabelledSequence, evidence: EvidenceModel, most: int) -> Replay:
    """A replay of a drive with comparisons, in which local features were compared at every query that has them.

    `evidence` of descriptors nominates the `most` candidates, as it does live.
    """
    assert sequence.comparisons is not None
    steps: list[Step] = []
    for step in one.steps:
        retrieval = step.retrieval
        ratios, _ = evidence.log_ratios(retrieval.features, one.recogniser.topology.n)
        rows = choose_candidates(np.argsort(-ratios, kind="stable"), retrieval.distinct, most)
        found, counts = sequence.comparisons.counts(step.query, retrieval.rows[rows])
        if found.any():
            retrieval = replace(retrieval, local=local_readings(counts, rows[found], retrieval.distinct))
        steps.append(replace(step, retrieval=retrieval))
    return replace(one, steps=steps)


def steps_of(replays: Sequence[Replay]) -> Iterator[tuple[Topology, Step]]:
    """The queries whose truth is known, each with the topology of its map."""
    for replay in replays:
        for step in replay.steps:
            if step.known:
                yield replay.recogniser.topology, step


@dataclass(frozen=True)
class Outcomes:
    """What the filter made of queries whose truth is known, before calibration. Best is the most probable place."""

    places: Sequence[Sequence[Place]]  # (Q,) distinct places, most probable first
    readings: np.ndarray  # (Q, 9) of the best place, see `readings_of`
    near: np.ndarray  # (Q,) bool: a true place lies in its vicinity
    right: np.ndarray  # (Q,) bool: it is a true one
    supported: np.ndarray  # (Q,) bool: the query's own retrieval contains it
    on_map: np.ndarray  # (Q,) bool
    counted: np.ndarray  # (Q,) bool: no repetition of another query
    stretches: np.ndarray  # (Q,) number of the stretch, common to all passes of a drive
    odd: np.ndarray  # (Q,) bool: the stretch has an odd number within its drive

    def weights(self, used: np.ndarray) -> np.ndarray:
        """Of queries (Q,): those `used` on the map weigh as much in sum as those off it, and 1 in the mean."""
        share = float(np.clip(self.on_map[used].mean(), 1e-3, 1 - 1e-3)) if used.any() else 0.5
        return np.where(self.on_map, 0.5 / share, 0.5 / (1 - share))


def outcomes_of(
    replays: Sequence[Replay],
    folds: Sequence[EvidenceModel],
    temper: float,
    with_odometry: bool,
    resting: EvidenceModel | None = None,
) -> Outcomes:
    """Of replays, the evidence of odd stretches by the second of the folds, that of the others by the first.

    With `resting`, the evidence of descriptors alone, the folds are those of local features, which are compared while
    the filter is unsure.
    """
    named: list[list[Place]] = []
    found: list[tuple[bool, bool, bool, bool, bool, int, int]] = []
    drive = -1
    for one in replays:
        drive += not one.repeats
        top = one.recogniser.topology
        one.recogniser.new_drive("")
        for step in one.steps:
            if step.fresh:
                one.recogniser.reset("")
            motion = step.motion if with_odometry else Motion(None)
            retrieval, evidence = step.retrieval, folds[step.stretch % 2]
            if resting is not None and (retrieval.local is None or one.recogniser.sure(retrieval, motion)):
                retrieval, evidence = replace(retrieval, local=None), resting
            one.recogniser.advance(retrieval, motion, evidence, temper)
            if not step.known:
                continue
            places = one.recogniser.places
            named.append(places or [NO_PLACE])
            near = right = supported = False
            if places:
                row = places[0].row
                near = bool(np.isin(top.near(row, 2 * top.radius), step.truth).any())
                right = bool(np.isin(row, step.truth))
                supported = supports(top, step.retrieval.rows, row)
            on = len(step.truth) > 0
            found.append((near, right, supported, on, not (one.repeats and on), drive, step.stretch))
    near, right, supported, on, counted, drives, stretches = (np.array(c) for c in zip(*found, strict=True))
    numbers = np.unique([drives, stretches], axis=1, return_inverse=True)[1].ravel()
    readings = np.concatenate([readings_of(places[:2])[:1] for places in named])
    return Outcomes(named, readings, near, right, supported, on, counted, numbers, stretches % 2 == 1)
