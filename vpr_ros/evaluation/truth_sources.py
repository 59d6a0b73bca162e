"""Ground truth of runs without poses, as it is named on the command line: `names`, `frames:K`, a CSV or an .npy file.

All but a CSV of stamps count pictures: a picture's number is its place in its bag, from 0, and the bags tell the
numbers and, where they were made of folders, the file names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation.numbered_pairs import (
    ANY_DRIVE,
    OFF_MAP,
    NumberedPair,
    kind_of_file,
    names_of,
    read_numbered,
)
from vpr_ros.evaluation.numbering import common_numbers
from vpr_ros.evaluation.pairs import read_pairs, truth_from_pairs
from vpr_ros.evaluation.truth import Truth, frame_tolerance
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.sensors.bags.drive_frames import DriveFrames

OUT_OF_STEP = 2  # drives whose numbers of pictures differ by more than this factor are not in step


@dataclass(frozen=True)
class TruthSource:
    """What `--truth` named; made by `parse_truth`."""

    kind: Literal["names", "frames", "csv", "npy"]
    tolerance: int = 0  # K of frames:K
    path: Path | None = None


def parse_truth(text: str | Path, others: str = "") -> TruthSource:
    """What kind of truth is meant. Raises VprError for text that is none and for a file that is not there.

    `others` is what the caller understands beside these, as a phrase.
    """
    text = str(text)
    if text == "names":
        return TruthSource("names")
    tolerance = frame_tolerance(text)
    if tolerance is not None:
        return TruthSource("frames", tolerance)
    path = Path(text)
    if path.is_file():
        return TruthSource("npy" if path.suffix.lower() == ".npy" else "csv", path=path)
    if path.suffix.lower() in (".csv", ".npy", ".txt"):
        raise VprError(f"the truth '{text}' does not exist: check the path.")
    raise VprError(
        f"--truth {text!r} is not understood: use names, frames:K (for example frames:2), {others}or a .csv "
        "or .npy file."
    )


def truth_of(
    source: TruthSource,
    stamps_ns: np.ndarray,
    keyframes: Keyframes,
    query: Callable[[], DriveFrames],
    mapped: Callable[[], Mapping[int, DriveFrames]],
    tolerance: int = 0,
    max_gap_s: float = 1.0,
) -> Truth:
    """Truth of the frames at `stamps_ns` (Q,) among the keyframes.

    `query` reads the pictures of the query drive, `mapped` those of each session of the map; they are called where
    pictures are counted. `tolerance` is that of a table's rows without one. Raises VprError for a table that cannot be
    read or does not fit the drives.
    """
    if source.kind == "csv" and source.path is not None and kind_of_file(source.path) == "stamps":
        pairs = read_pairs(source.path)
        columns = keyframes.ids, keyframes.stamps_ns
        return truth_from_pairs(stamps_ns, *columns, pairs, tolerance, max_gap_s, keyframes.sessions)
    asked, drives = query(), dict(mapped())
    if source.kind == "frames":
        pairs, tolerance = _pairs_in_step(asked, drives, source.tolerance), source.tolerance
        rule = f"the numbers of the two pictures in their drives differ by at most {tolerance}"
    elif source.kind == "names":
        pairs = _same_names(asked, drives)
        rule = f"the two pictures have the same file name{_within(tolerance)}"
    elif source.path is not None:
        pairs = read_numbered(source.path, asked, drives)
        rule = f"{source.path.name} names its picture{_within(tolerance)}"
    else:
        raise ValueError(f"{source} has no file")
    return truth_from_numbers(asked.numbers_of(stamps_ns), keyframes, drives, pairs, tolerance, rule)


def _pairs_in_step(asked: DriveFrames, drives: Mapping[int, DriveFrames], tolerance: int) -> list[NumberedPair]:
    """Pairs of drives in step: by the numbers in the names where they tell the frames, else by the place in the drive.

    VprError where no mapped drive has about as many pictures as the query drive, and for names that contradict.
    """
    counts = [len(frames) for frames in drives.values()]
    if counts and all(max(len(asked), n) > OUT_OF_STEP * min(len(asked), n) for n in counts):
        raise VprError(
            f"{asked.source} has {len(asked)} pictures and the map's drives have {', '.join(map(str, counts))}: "
            "frames:K is for drives in step, picture by picture; name the pairs in a .csv or .npy file, or use names."
        )
    found = common_numbers([("query", asked.names), *(("mapped", frames.names) for frames in drives.values())])
    if found is None:
        return [NumberedPair(number, number) for number in range(len(asked))]
    own, mapped = found[0], dict(zip(drives, found[1:], strict=True))
    first, last = min(n.min() for n in mapped.values()), max(n.max() for n in mapped.values())
    pairs = []
    for place, number in enumerate(own.tolist()):
        near = [(s, np.flatnonzero(np.abs(numbers - number) <= tolerance)) for s, numbers in mapped.items()]
        pairs += [NumberedPair(place, row, session, 0) for session, rows in near for row in rows.tolist()]
        if not first - tolerance <= number <= last + tolerance:
            pairs.append(NumberedPair(place, OFF_MAP))
    return pairs


def truth_from_numbers(
    query_numbers: np.ndarray,
    keyframes: Keyframes,
    drives: Mapping[int, DriveFrames],
    pairs: Sequence[NumberedPair],
    tolerance: int,
    rule: str,
) -> Truth:
    """Keyframes whose pictures lie within the tolerance of a pair's reference.

    A query is off the map where all its pairs say so, or where no mapped drive has a picture within the tolerance. It
    has no truth where no pair names it, and where the place was driven past but no keyframe lies that near.
    Raises VprError where no query has truth.
    """
    rows_of: dict[int, list[NumberedPair]] = {}
    for pair in pairs:
        rows_of.setdefault(pair.query, []).append(pair)
    numbered: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # session -> numbers of its keyframes, sorted, and ids
    for session, frames in drives.items():
        rows = np.flatnonzero(keyframes.sessions == session)
        numbers = frames.numbers_of(keyframes.stamps_ns[rows])
        rows, numbers = rows[numbers >= 0], numbers[numbers >= 0]
        order = np.argsort(numbers, kind="stable")
        numbered[session] = numbers[order], keyframes.ids[rows[order]]
    known = np.zeros(len(query_numbers), dtype=bool)
    positives: list[np.ndarray] = []
    for q, number in enumerate(np.asarray(query_numbers).tolist()):
        found: list[np.ndarray] = []
        own, driven = rows_of.get(number, []) if number >= 0 else [], False
        for pair in own:
            if pair.reference == OFF_MAP:
                continue
            reach = tolerance if pair.tolerance is None else pair.tolerance
            low, high = pair.reference - reach, pair.reference + reach
            for session in drives if pair.session == ANY_DRIVE else (pair.session,):
                numbers, ids = numbered[session]
                found.append(ids[np.searchsorted(numbers, low) : np.searchsorted(numbers, high, side="right")])
                driven = driven or low < len(drives[session])
        positives.append(np.unique(np.concatenate(found)) if found else np.array([], np.int64))
        known[q] = bool(own) and (len(positives[-1]) > 0 or not driven)
    if len(known) and not known.any():
        raise VprError("no frame of the run has truth: are these the bags of the run and of its map?")
    return Truth(tuple(positives), known, np.asarray(keyframes.ids, np.int64), f"A match is right when {rule}.")


def _within(tolerance: int) -> str:
    return f", or lies within {tolerance} pictures of it" if tolerance else ""


def _same_names(asked: DriveFrames, drives: Mapping[int, DriveFrames]) -> list[NumberedPair]:
    places: dict[str, list[tuple[int, int]]] = {}
    for session, frames in drives.items():
        for number, name in enumerate(names_of(frames)):
            places.setdefault(PurePath(name).stem, []).append((session, number))
    pairs: list[NumberedPair] = []
    for number, name in enumerate(names_of(asked)):
        same = places.get(PurePath(name).stem, []) if name else []
        pairs += [NumberedPair(number, reference, session) for session, reference in same]
        if name and not same:
            pairs.append(NumberedPair(number, OFF_MAP))
    return pairs
