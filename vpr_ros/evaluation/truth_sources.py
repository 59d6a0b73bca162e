"""Ground truth of runs without poses, as it is named on the command line: `names`, `frames:K`, a CSV or an .npy file.

All but a CSV of stamps count pictures: a picture's number is its place in its bag, from 0, and the bags tell the
numbers and, where they were made of folders, the file names.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation.pairs import read_pairs, truth_from_pairs
from vpr_ros.evaluation.truth import Truth, frame_tolerance
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.plain_files import load_arrays
from vpr_ros.sensors.bags.drive_frames import DriveFrames
from vpr_ros.sensors.bags.picture_reader import NAME_TOPIC

ANY_DRIVE = -1
OFF_MAP = -1


@dataclass(frozen=True)
class TruthSource:
    """What `--truth` named; made by `parse_truth`."""

    kind: Literal["names", "frames", "csv", "npy"]
    tolerance: int = 0  # K of frames:K
    path: Path | None = None


class NumberedPair(NamedTuple):
    """Picture `query` shows the place of picture `reference` of a mapped drive; OFF_MAP: of none."""

    query: int
    reference: int
    session: int = ANY_DRIVE  # the drive that `reference` counts in
    tolerance: int | None = None  # in pictures; None: the caller's


def parse_truth(text: str | Path) -> TruthSource:
    """What kind of truth is meant. Raises VprError for text that is none and for a file that is not there."""
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
        f"--truth {text!r} is not understood: use names, frames:K (for example frames:2), or a .csv or .npy file."
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
    if source.kind == "csv" and source.path is not None and _kind_of_table(source.path) == "stamps":
        pairs = read_pairs(source.path)
        columns = keyframes.ids, keyframes.stamps_ns
        return truth_from_pairs(stamps_ns, *columns, pairs, tolerance, max_gap_s, keyframes.sessions)
    asked, drives = query(), dict(mapped())
    if source.kind == "frames":
        pairs, tolerance = [NumberedPair(n, n) for n in range(len(asked))], source.tolerance
        rule = f"the numbers of the two pictures in their drives differ by at most {tolerance}"
    elif source.kind == "names":
        pairs = _same_names(asked, drives)
        rule = f"the two pictures have the same file name{_within(tolerance)}"
    elif source.path is not None:
        read = _pairs_of_array if source.kind == "npy" else _pairs_of_table
        pairs = read(source.path, asked, drives)
        rule = f"{source.path.name} names its picture{_within(tolerance)}"
    else:
        raise ValueError(f"{source} has no file")
    return truth_from_numbers(asked.numbers_of(stamps_ns), keyframes, drives, pairs, tolerance, rule)


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
    places = _places(drives)
    pairs: list[NumberedPair] = []
    for number, name in enumerate(_names(asked)):
        same = places.get(PurePath(name).stem, []) if name else []
        pairs += [NumberedPair(number, reference, session) for session, reference in same]
        if name and not same:
            pairs.append(NumberedPair(number, OFF_MAP))
    return pairs


def _names(frames: DriveFrames) -> tuple[str, ...]:
    if not frames.names:
        raise VprError(
            f"bag {frames.source} does not tell the file names of its pictures (topic {NAME_TOPIC}): make it again "
            "with `vpr_ros bag`, or count pictures with --truth frames:K."
        )
    return frames.names


def _places(drives: Mapping[int, DriveFrames]) -> dict[str, list[tuple[int, int]]]:
    """Names without folder and ending -> (session, number) of the mapped pictures."""
    places: dict[str, list[tuple[int, int]]] = {}
    for session, frames in drives.items():
        for number, name in enumerate(_names(frames)):
            if name:
                places.setdefault(PurePath(name).stem, []).append((session, number))
    return places


# Tables


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of the lines of a CSV that are neither empty nor a comment."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            rows = [(number, [cell.strip() for cell in row]) for number, row in enumerate(csv.reader(stream), 1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VprError(f"cannot read the pairs file {path}: {error}") from error
    return [(number, cells) for number, cells in rows if any(cells) and not cells[0].startswith("#")]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _kind_of_table(path: Path) -> Literal["stamps", "frames", "names"]:
    """Names where the first cells are no numbers; numbers are stamps unless a header says frame or name."""
    rows = _rows(path)
    first = [cells[0].lower() for _, cells in rows[:2]]
    if not first or _is_number(first[0]):
        return "stamps"
    if len(first) > 1 and _is_number(first[1]):
        return "names" if "name" in first[0] else "frames" if "frame" in first[0] else "stamps"
    return "names" if len(first) > 1 or PurePath(first[0]).suffix else "stamps"


def _pairs_of_table(path: Path, asked: DriveFrames, drives: Mapping[int, DriveFrames]) -> list[NumberedPair]:
    by_name = _kind_of_table(path) == "names"
    own: dict[str, int] = {}
    for number, name in enumerate(_names(asked) if by_name else ()):
        own.setdefault(PurePath(name).stem, number)
    places = _places(drives) if by_name else {}
    pairs: list[NumberedPair] = []
    for place, (line, cells) in enumerate(_rows(path)):
        query, reference, tolerance = [*cells, "", ""][:3]
        header = place == 0 and not PurePath(query).suffix and not query.isdigit() and query not in own
        if header:
            continue
        if tolerance and not (tolerance.isascii() and tolerance.isdecimal() and len(tolerance) < 10):
            raise VprError(f"{path} line {line}: the tolerance '{tolerance}' is not a whole number from 0 on.")
        reach = int(tolerance) if tolerance else None
        if not by_name:
            own_number, other = _number(query, path, line), _number(reference or "-1", path, line)
            pairs.append(NumberedPair(own_number, other, ANY_DRIVE, reach))
            continue
        if PurePath(query).stem not in own:
            raise VprError(f"{path} line {line}: bag {asked.source} has no picture named '{query}'.")
        found = places.get(PurePath(reference).stem, []) if reference else [(ANY_DRIVE, OFF_MAP)]
        if not found:
            raise VprError(f"{path} line {line}: no mapped bag has a picture named '{reference}'.")
        pairs += [NumberedPair(own[PurePath(query).stem], number, session, reach) for session, number in found]
    return _fitting(pairs, path, asked, drives)


def _number(text: str, path: Path, line: int) -> int:
    try:
        return max(int(text), OFF_MAP)
    except ValueError:
        raise VprError(f"{path} line {line}: '{text}' is not the number of a picture.") from None


def _pairs_of_array(path: Path, asked: DriveFrames, drives: Mapping[int, DriveFrames]) -> list[NumberedPair]:
    """Of (Q,) integers, the reference of each picture; (P, 2) integers, pairs; or (Q, R) booleans, which is right."""
    try:
        array = load_arrays(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        reason = "it holds Python objects, which are never loaded" if "allow_pickle" in str(error) else str(error)
        raise VprError(f"the truth '{path}' cannot be read ({reason}): save integers or booleans.") from None
    if not isinstance(array, np.ndarray):
        raise VprError(f"the truth '{path}' is an archive of arrays: save one array as .npy.")
    most = max((len(frames) for frames in drives.values()), default=0)
    if array.dtype == bool and array.shape == (len(asked), most):
        queries, references = np.nonzero(array)
        off = np.flatnonzero(~array.any(axis=1))
        pairs = [NumberedPair(*pair) for pair in zip(queries.tolist(), references.tolist(), strict=True)]
        return pairs + [NumberedPair(number, OFF_MAP) for number in off.tolist()]
    if np.issubdtype(array.dtype, np.integer) and array.shape == (len(asked),):
        pairs = [NumberedPair(number, max(r, OFF_MAP)) for number, r in enumerate(array.tolist())]
        return _fitting(pairs, path, asked, drives)
    if np.issubdtype(array.dtype, np.integer) and array.ndim == 2 and array.shape[1] == 2:
        pairs = [NumberedPair(q, max(r, OFF_MAP)) for q, r in array.tolist()]
        return _fitting(pairs, path, asked, drives)
    raise VprError(
        f"the truth '{path}' is {array.dtype} of shape {array.shape}: it needs the mapped picture of each of the "
        f"{len(asked)} pictures as ({len(asked)},) integers (-1: off the map), pairs as (N, 2) integers, or "
        f"({len(asked)}, {most}) booleans."
    )


def _fitting(
    pairs: list[NumberedPair], path: Path, asked: DriveFrames, drives: Mapping[int, DriveFrames]
) -> list[NumberedPair]:
    """The pairs; VprError where one counts beyond the drives."""
    most = max((len(frames) for frames in drives.values()), default=0)
    for pair in pairs:
        if not 0 <= pair.query < len(asked):
            raise VprError(f"{path} names picture {pair.query}, and {asked.source} has 0 to {len(asked) - 1}.")
        if pair.reference >= most:
            raise VprError(f"{path} names mapped picture {pair.reference}, and the map's drives have 0 to {most - 1}.")
    return pairs
