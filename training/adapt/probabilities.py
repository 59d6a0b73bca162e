"""Probabilities of an adapted student, from the stretches that its trainings did not see.

A student is unlike itself on the frames that it learned from, on the map and off it. So every stretch asks in its own
turn: once of a whole drive, and once of a drive that lacks the stretch and what lies beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vpr_ros.calibration import LabelledSequence, fit_calibration
from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.training.adapt.measure import Asked, Crossings
from vpr_ros.training.adapt.stretches import COUNT, Stretches
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.export.validation_drives import without_poses

RUN_IN = 40  # frames before and behind a stretch that only move the filter
MOST_FRAMES = 10_000  # that are asked in all; stretches beyond it are left out by lot, so that a fit takes a minute


def fit_probabilities(
    crossings: Crossings,
    stretches: Stretches,
    descriptors: Sequence[np.ndarray],
    parts: tuple[int, ...],
    warn: Callable[[str], None],
) -> dict[str, Any] | None:
    """The calibration as plain values; None, with a warning, where the own queries do not suffice.

    `descriptors` are those (N, dim) of the students that were trained without stretch 0, 1, and so on.
    """
    try:
        drives = labelled_stretches(crossings, stretches, descriptors, parts)
        return fit_calibration(drives, crossings.size.radius_m, source="checkpoint").to_dict()
    except VprError as error:
        warn(
            f"the drives are not enough for probabilities of their own ({error}): those of the start are kept; fit "
            "them to your map with 'vpr_ros calibrate'"
        )
        return None


def labelled_stretches(
    crossings: Crossings, stretches: Stretches, descriptors: Sequence[np.ndarray], parts: tuple[int, ...]
) -> list[LabelledSequence]:
    """Every stretch of every drive with positions as queries, against each other drive, with it and without it.

    Of three stretches one is asked once more of a map without poses, and one of such a map of every second picture.
    """
    posed = np.asarray(np.isfinite(crossings.samples.positions_m).all(axis=1))
    groups: list[list[LabelledSequence]] = []
    for number in range(COUNT):
        held, apart = stretches.kept_out(number), stretches.apart(number)
        for one in crossings.asked:
            if not (posed[one.drive].all() and posed[one.map].all()):
                continue
            for window, known in _windows(held[one.drive]):
                every = np.ones(len(one.map), bool)
                columns = [(every, False)] + ([(apart[one.map], True)] if apart[one.map].any() else [])
                group = [
                    _labelled(crossings, one, window, known, used, repeats, descriptors[number], parts)
                    for used, repeats in columns
                ]
                if len(groups) % 3 < 2:
                    group += [without_poses(each, 1 + len(groups) % 3) for each in group]
                groups.append(group)
    order = np.random.default_rng(0).permutation(len(groups))
    asked = np.cumsum([sum(len(one.truth) for one in groups[i]) for i in order])
    chosen = np.sort(order[: max(1, int((asked <= MOST_FRAMES).sum()))]) if groups else []
    return [one for i in chosen for one in groups[i]]


def _windows(held: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of a drive's frames (D,), bool: each run that is kept out, with its run-in, as numbers (W,), and which are it."""
    edges = np.flatnonzero(np.diff(held.astype(int), prepend=0, append=0))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        window = np.arange(max(0, first - RUN_IN), min(len(held), last + RUN_IN))
        yield window, (window >= first) & (window < last)


def _labelled(
    crossings: Crossings,
    one: Asked,
    window: np.ndarray,
    known: np.ndarray,
    used: np.ndarray,
    repeats: bool,
    descriptors: np.ndarray,
    parts: tuple[int, ...],
) -> LabelledSequence:
    """The frames `window` of the drive that asks, against those of the other one that are `used` (M,) bool."""
    samples, queries, rows = crossings.samples, one.drive[window], one.map[used]
    true, unknown = one.true[window][:, used], one.unknown[window][:, used]
    poses = _poses(samples, rows)
    keyframes = Keyframes(
        np.arange(1, len(rows) + 1),
        np.ones(len(rows), np.int64),
        samples.stamps_ns[rows],
        poses,
        poses,
        descriptors[rows].astype(np.float16),
    )
    return LabelledSequence(
        keyframes,
        descriptors[queries].astype(np.float16),
        samples.stamps_ns[queries],
        _poses(samples, queries),
        [np.flatnonzero(row) for row in true],
        parts=parts,
        known=known & (true.any(axis=1) | ~unknown.any(axis=1)),
        repeats=repeats,
        radius=crossings.size.radius_m,
    )


def _poses(samples: SampleSet, rows: np.ndarray) -> np.ndarray:
    assert samples.headings_rad is not None
    planar = np.column_stack([samples.positions_m, samples.headings_rad])[rows]
    return np.array([planar_transform(*pose) for pose in planar.tolist()])
