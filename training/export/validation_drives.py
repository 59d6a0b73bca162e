"""Validation drives as what calibration is fitted on: maps of several worlds, drives that leave them, maps without
poses."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vpr_ros.calibration import LabelledSequence
from vpr_ros.calibration.comparisons import Comparisons, Pictures
from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.synthetic.kinds import KIND_STRIDE, KINDS, scale_of

PLACE_RADIUS_M = 10.0  # in a street
PLACE_RADIUS_FRAMES = 2.0  # in maps without poses
MAP_CITIES = 4  # of the largest map that is calibrated on: a larger one has more that looks alike
OFF_MAP_CITIES = 3  # that a drive goes on through
CITY_SPACING_M = 1e5  # in that map
# Of the way after a drive has left its map nothing is asked, in place radii: another city begins there within one
# frame. No street does that, and a filter that needs two frames to notice would be taken for one that errs.
LEAVING_RADII = 3.0
MAX_HEADING_DEG = 60.0
MOST_QUERIES = 100_000  # of all drives; whole drives beyond it are left out by lot, so that a fit takes minutes
MOST_COMPARED = 12_000  # the same of drives whose local features are compared: that takes 50 ms a query


def labelled_drives(
    descriptors: np.ndarray,
    samples: SampleSet,
    parts: tuple[int, ...] | None = None,
    pictures: Pictures | None = None,
) -> list[LabelledSequence]:
    """Every drive of a city but its first one as queries, against a map of the first drives of it and the next cities.

    Maps have one to MAP_CITIES of them, at most half of all. A robot that leaves its map stays away for long, and the
    longer it does, the likelier it meets a street that looks like a mapped one for a while: each sequence also goes
    through up to OFF_MAP_CITIES cities that are not in the map, odometry running on. Some come through one of them
    first, and for every second one the map ends before its street does. Of three drives one is asked once more of a map
    without poses, and one of such a map of every second picture. Worlds of another scale (rendered corridors) have maps
    of their own, with places as much smaller. Frames without a position are left out, and frames of which it is not
    known whether the map shows their place only move the filter. At most MOST_QUERIES are asked, MOST_COMPARED with
    `pictures`. `parts` are the lengths of the descriptors' parts (None: one part). `pictures` are the samples' by their
    rows, for drives whose local features shall be compared.
    """
    sequences: list[LabelledSequence] = []
    areas = [str(area) for area in np.unique(samples.areas)]
    for scale in sorted({_scale(area) for area in areas}, reverse=True):
        cities = [area for area in areas if _scale(area) == scale]
        for number, drive in enumerate(
            _of_cities(descriptors, samples, cities, PLACE_RADIUS_M * scale, parts, pictures)
        ):
            sequences.append(drive)
            if number % 3 < 2:
                sequences.append(without_poses(drive, 1 + number % 3))
    order = np.random.default_rng(0).permutation(len(sequences))
    most = MOST_QUERIES if pictures is None else MOST_COMPARED
    asked = np.cumsum([len(sequences[i].truth) for i in order])
    return [sequences[i] for i in np.sort(order[: max(1, int((asked <= most).sum()))])]


def _scale(area: str) -> float:
    """Lengths in an area against those in a street: that of a rendered world is named by its seed."""
    return scale_of(int(area)) if area.isdigit() and int(area) < KIND_STRIDE * len(KINDS) else 1.0


def _of_cities(
    descriptors: np.ndarray,
    samples: SampleSet,
    cities: Sequence[str],
    radius_m: float,
    parts: tuple[int, ...] | None,
    pictures: Pictures | None,
) -> list[LabelledSequence]:
    posed = np.isfinite(samples.positions_m).all(axis=1)
    drives_of = {
        city: [np.flatnonzero((samples.drives == d) & posed) for d in sorted(set(samples.drives[here & posed]))]
        for city, here in ((city, samples.areas == city) for city in cities)
    }
    cities = [city for city in cities if drives_of[city]]
    sequences: list[LabelledSequence] = []
    for position in range(len(cities)):
        mapped = 1 + position % min(MAP_CITIES, max(1, len(cities) // 2))
        ordered = [cities[(position + i) % len(cities)] for i in range(len(cities))]
        rows_of_map = [drives_of[city][0] for city in ordered[:mapped]]
        keyframes, map_rows = _keyframes(descriptors, samples, rows_of_map), np.concatenate(rows_of_map)
        ends = np.zeros(len(keyframes), dtype=bool)
        first = len(drives_of[ordered[0]][0])
        ends[2 * first // 3 : first] = True
        following = [drives_of[city] for city in ordered[mapped : mapped + OFF_MAP_CITIES]]
        for number, on_map in enumerate(drives_of[ordered[0]][1:]):
            if len(on_map) < 2:
                continue  # no interval between frames to continue with
            away = [drives[(number + 1) % len(drives)] for drives in following]
            come_from = number // 2 % 2  # every second pair of robots comes from off the map
            before, after = away[:come_from], away[come_from:]
            # The map of every second robot ends before the street does: views that change bit by bit tell apart what
            # is 10 m behind the last keyframe and what is 20.
            kept = np.flatnonzero(~ends) if number % 2 else np.arange(len(keyframes))
            mapped_part = keyframes.select(kept) if number % 2 else keyframes
            truth = _truth(samples, on_map, map_rows[kept], radius_m)
            drive = _sequence(descriptors, samples, mapped_part, before, on_map, after, truth, radius_m, parts)
            if pictures is not None:
                rows = np.concatenate([*before, on_map, *after])
                drive = replace(drive, comparisons=Comparisons(pictures, rows, map_rows[kept]))
            sequences.append(drive)
    return sequences


def _sequence(
    descriptors: np.ndarray,
    samples: SampleSet,
    keyframes: Keyframes,
    before: Sequence[np.ndarray],
    on_map: np.ndarray,
    after: Sequence[np.ndarray],
    truth_on_map: tuple[list[np.ndarray], np.ndarray],
    radius_m: float,
    parts: tuple[int, ...] | None,
) -> LabelledSequence:
    """A drive on the map that comes from other ones and goes on through others, of these rows of the samples.

    `truth_on_map` are the true keyframes of each query on the map, and (M,) bool which of these queries are known.
    """
    T_on_map = _poses(samples, on_map)
    step_ns = int(np.median(np.diff(samples.stamps_ns[on_map])))
    step_m = float(np.median(np.linalg.norm(np.diff(T_on_map[:, :3, 3], axis=0), axis=1)))
    # Between two cities lies a stretch without images as long as a place reaches: odometry that stood still while the
    # view changed altogether would teach that a robot off the map is mostly believed to be on it.
    unseen = math.ceil(radius_m / max(step_m, 0.01 * radius_m))
    T_gap = planar_transform(unseen * step_m, 0.0, 0.0)
    pieces = [*before, on_map, *after]
    T_odom, steps = _poses(samples, pieces[0]), np.arange(len(pieces[0]))
    for piece in pieces[1:]:
        T_piece = _poses(samples, piece)
        T_odom = np.concatenate([T_odom, T_odom[-1] @ T_gap @ np.linalg.inv(T_piece[0]) @ T_piece])
        steps = np.concatenate([steps, steps[-1] + unseen + np.arange(len(piece))])
    rows, first = np.concatenate(pieces), sum(len(piece) for piece in before)
    left = first + len(on_map)
    truth = [np.empty(0, dtype=np.int64)] * len(rows)
    truth[first:left], known = truth_on_map
    way_m = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(T_odom[:, :3, 3], axis=0), axis=1))]
    last = max((q for q in range(first, left) if len(truth[q])), default=first)
    silent = (np.arange(len(rows)) >= left) & (way_m - way_m[last] <= LEAVING_RADII * radius_m)
    silent[first:left] = ~known
    return LabelledSequence(
        keyframes,
        descriptors[rows].astype(np.float16),
        samples.stamps_ns[on_map[0]] + step_ns * steps,
        T_odom,
        truth,
        parts=parts,
        known=~silent,
        radius=radius_m,
    )


def _truth(
    samples: SampleSet, queries: np.ndarray, map_rows: np.ndarray, radius_m: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Numbers among `map_rows` of the true keyframes of each query, and (M,) bool where it is known which are."""
    gaps = samples.nearness.gaps(queries[:, None], map_rows[None])
    true = gaps.near(radius_m, math.radians(MAX_HEADING_DEG))
    known = np.any(true, axis=1) | ~np.any(gaps.unknown(radius_m), axis=1)
    return [np.flatnonzero(row) for row in true], np.asarray(known)


def without_poses(sequence: LabelledSequence, every: int) -> LabelledSequence:
    """The same drive without odometry, against a map without poses, both of every `every`-th picture.

    True are the middle one of those keyframes that are true with poses and PLACE_RADIUS_FRAMES pictures before and
    behind.
    """
    frames = sequence.keyframes
    kept = np.concatenate([np.flatnonzero(frames.sessions == s)[::every] for s in np.unique(frames.sessions)])
    sessions, positions = frames.sessions[kept], frames.T_map_base[kept, :3, 3]
    asked = np.arange(0, len(sequence.truth), every)
    truth: list[np.ndarray] = []
    for q in asked.tolist():
        near = np.flatnonzero(np.isin(kept, sequence.truth[q]))
        if len(near):
            middle = np.median(positions[near], axis=0)
            nearest = int(near[np.argmin(np.linalg.norm(positions[near] - middle, axis=1))])
            beside = np.abs(np.arange(len(kept)) - nearest) <= PLACE_RADIUS_FRAMES
            near = np.flatnonzero(beside & (sessions == sessions[nearest]))
        truth.append(near)
    unposed = frames.select(kept)
    none = np.full_like(unposed.T_map_base, np.nan)
    return replace(
        sequence,
        keyframes=replace(unposed, T_map_base=none, T_odom_base=none),
        descriptors=sequence.descriptors[asked],
        stamps_ns=sequence.stamps_ns[asked],
        T_odom_base=None,
        truth=truth,
        known=None if sequence.known is None else sequence.known[asked],
        comparisons=None if sequence.comparisons is None else sequence.comparisons.select(asked, kept),
        radius=PLACE_RADIUS_FRAMES,
    )


def _keyframes(descriptors: np.ndarray, samples: SampleSet, drives: Sequence[np.ndarray]) -> Keyframes:
    """Frames of drives through different cities as the sessions of one map; their true poses serve as odometry."""
    rows = np.concatenate(drives)
    poses = np.concatenate([_apart(number) @ _poses(samples, drive) for number, drive in enumerate(drives)])
    return Keyframes(
        ids=np.arange(1, len(rows) + 1),
        sessions=np.repeat(np.arange(1, len(drives) + 1), [len(drive) for drive in drives]),
        stamps_ns=samples.stamps_ns[rows],
        T_map_base=poses,
        T_odom_base=poses,
        descriptors=descriptors[rows].astype(np.float16),
    )


def _apart(number: int) -> np.ndarray:
    """Where the city of this number lies in the map: none touches another."""
    return planar_transform(number * CITY_SPACING_M, 0.0, 0.0)


def _poses(samples: SampleSet, rows: np.ndarray) -> np.ndarray:
    if samples.headings_rad is None:
        raise VprError(f"the drives of {samples.name} have no headings")
    planar = np.column_stack([samples.positions_m, samples.headings_rad])
    return np.array([planar_transform(*pose) for pose in planar[rows].tolist()])
