"""Tables and arrays that say which pictures belong together, by file names or by numbers.

A picture's number is its place in its drive or folder, from 0.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.plain_files import load_arrays, load_object_rows
from vpr_ros.sensors.bags.drive_frames import DriveFrames
from vpr_ros.sensors.bags.picture_reader import NAME_TOPIC

ANY_DRIVE = -1
OFF_MAP = -1
FileKind = Literal["stamps", "frames", "names"]


class NumberedPair(NamedTuple):
    """Picture `query` shows the place of picture `reference` of a mapped drive; OFF_MAP: of none."""

    query: int
    reference: int
    session: int = ANY_DRIVE  # the drive that `reference` counts in
    tolerance: int | None = None  # in pictures; None: the caller's


def names_of(frames: DriveFrames) -> tuple[str, ...]:
    """File names of a drive's pictures; VprError where its bag does not tell them."""
    if not frames.names:
        raise VprError(
            f"bag {frames.source} does not tell the file names of its pictures (topic {NAME_TOPIC}): make it again "
            "with `vpr_ros bag`, or count pictures with --truth frames:K."
        )
    return frames.names


def kind_of_file(path: Path) -> FileKind:
    """What a file of truth names pictures by; an .npy: "frames".

    Of a table, names where the first cells are no numbers; numbers are stamps unless a header says frame or name.
    """
    if path.suffix.lower() == ".npy":
        return "frames"
    rows = _rows(path)
    first = [cells[0].lower() for _, cells in rows[:2]]
    if not first or _is_number(first[0]):
        return "stamps"
    if len(first) > 1 and _is_number(first[1]):
        return "names" if "name" in first[0] else "frames" if "frame" in first[0] else "stamps"
    return "names" if len(first) > 1 or PurePath(first[0]).suffix else "stamps"


def read_numbered(path: Path, asked: DriveFrames, drives: Mapping[int, DriveFrames]) -> list[NumberedPair]:
    """The pairs of a table of names or of numbers, or of an array.

    Raises VprError for a file that cannot be read or does not fit the pictures of the query and of the mapped drives.
    """
    if path.suffix.lower() == ".npy":
        pairs = _pairs_of_array(path, asked, drives)
    else:
        pairs = _pairs_of_table(path, asked, drives, kind_of_file(path) == "names")
    most = _most(drives)
    for pair in pairs:
        if not 0 <= pair.query < len(asked):
            raise VprError(f"{path} names picture {pair.query}, and {asked.source} has 0 to {len(asked) - 1}.")
        if pair.reference >= most:
            raise VprError(f"{path} names mapped picture {pair.reference}, and the map's drives have 0 to {most - 1}.")
    return pairs


def _most(drives: Mapping[int, DriveFrames]) -> int:
    return max((len(frames) for frames in drives.values()), default=0)


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


class _Names:
    """Finds pictures by a written name: by as much of its path as agrees, at last by the name without its ending."""

    def __init__(self, frames: DriveFrames):
        self._ends: dict[str, list[int]] = {}
        self._stems: dict[str, list[int]] = {}
        for number, name in enumerate(names_of(frames)):
            if name:
                self._stems.setdefault(PurePath(name).stem, []).append(number)
                for end in _ends(name):
                    self._ends.setdefault(end, []).append(number)

    def __call__(self, name: str) -> list[int]:
        found = next((self._ends[end] for end in _ends(name) if end in self._ends), None)
        return self._stems.get(PurePath(name).stem, []) if found is None else found


def _ends(name: str) -> list[str]:
    """A path and what is left of it without its first folders: a/b/c.png, b/c.png, c.png."""
    parts = PurePath(name).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _pairs_of_table(
    path: Path, asked: DriveFrames, drives: Mapping[int, DriveFrames], by_name: bool
) -> list[NumberedPair]:
    own = _Names(asked) if by_name else None
    places = {session: _Names(frames) for session, frames in drives.items()} if by_name else {}
    pairs: list[NumberedPair] = []
    for place, (line, cells) in enumerate(_rows(path)):
        query, reference, tolerance = [*cells, "", ""][:3]
        where = f"{path} line {line}"
        header = place == 0 and not PurePath(query).suffix and not query.isdigit() and not (own and own(query))
        if header:
            continue
        if tolerance and not (tolerance.isascii() and tolerance.isdecimal() and len(tolerance) < 10):
            raise VprError(f"{where}: the tolerance '{tolerance}' is not a whole number from 0 on.")
        reach = int(tolerance) if tolerance else None
        if own is None:
            own_number, other = _number(query, where), _number(reference or "-1", where)
            pairs.append(NumberedPair(own_number, other, ANY_DRIVE, reach))
            continue
        numbers = own(query)
        if not numbers:
            raise VprError(f"{where}: {asked.source} has no picture named '{query}'.")
        if len(numbers) > 1:
            raise VprError(f"{where}: {asked.source} has {len(numbers)} pictures named '{query}'; say which one.")
        found = [(session, number) for session, names in places.items() for number in names(reference)]
        if reference and not found:
            raise VprError(f"{where}: no mapped picture is named '{reference}'.")
        if len({session for session, _ in found}) < len(found):
            raise VprError(f"{where}: several pictures of a mapped drive are named '{reference}'; say which one.")
        for session, number in found if reference else [(ANY_DRIVE, OFF_MAP)]:
            pairs.append(NumberedPair(numbers[0], number, session, reach))
    return pairs


def _number(text: str, where: str) -> int:
    try:
        return max(int(text), OFF_MAP)
    except ValueError:
        raise VprError(f"{where}: '{text}' is not the number of a picture.") from None


# Arrays


def _pairs_of_array(path: Path, asked: DriveFrames, drives: Mapping[int, DriveFrames]) -> list[NumberedPair]:
    """Of (Q, R) booleans, which is right; of Q rows of integers, the references of each picture; of (N, 2), pairs."""
    array, count, most = _read_array(path), len(asked), _most(drives)
    if isinstance(array, list):
        shape, kind = f"({len(array)},)", "objects"
        if len(array) == count:
            return _pairs_of_rows(_integers(row, number, path) for number, row in enumerate(array))
    else:
        shape, kind = str(array.shape), str(array.dtype)
        if array.dtype == bool and array.shape == (count, most):
            return _pairs_of_rows(np.flatnonzero(row).tolist() for row in array)
        if np.issubdtype(array.dtype, np.integer) and array.ndim == 2 and array.shape[1] == 2:
            if len(array) == count and len(np.unique(array[:, 0])) < count:
                raise VprError(
                    f"the truth '{path}' has two integers for each of {count} pictures: whether these are pairs or two "
                    "references each cannot be told; write a table (.csv) or booleans."
                )
            return [NumberedPair(query, max(reference, OFF_MAP)) for query, reference in array.tolist()]
        if np.issubdtype(array.dtype, np.integer) and array.ndim in (1, 2) and len(array) == count:
            return _pairs_of_rows(array.reshape(count, -1).tolist())
    raise VprError(
        f"the truth '{path}' is {kind} of shape {shape}: it needs the mapped pictures of each of the {count} pictures "
        f"as ({count},) integers (-1: off the map) or rows of them, pairs as (N, 2) integers, or ({count}, {most}) "
        "booleans."
    )


def _pairs_of_rows(rows: Iterable[Sequence[int]]) -> list[NumberedPair]:
    """Pairs of each picture's references; none that is 0 or more: off the map."""
    pairs = []
    for number, row in enumerate(rows):
        references = [reference for reference in row if reference >= 0] or [OFF_MAP]
        pairs += [NumberedPair(number, reference) for reference in references]
    return pairs


def _integers(row: Any, number: int, path: Path) -> list[int]:
    """The references of an array of objects in one of its rows: an integer, or a list or array of some."""
    values = row.ravel().tolist() if isinstance(row, np.ndarray) else row if isinstance(row, list | tuple) else [row]
    if all(type(value) is int for value in values):
        return list(values)
    raise VprError(f"row {number} of the truth '{path}' holds something else than numbers of pictures.")


def _read_array(path: Path) -> np.ndarray | list:
    """The array in an .npy file; of one that holds objects, the list of them."""
    try:
        rows = load_object_rows(path)
        array = load_arrays(path, mmap_mode="r") if rows is None else rows
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise VprError(f"the truth '{path}' cannot be read ({reason}): save integers or booleans.") from None
    if not isinstance(array, np.ndarray | list):
        raise VprError(f"the truth '{path}' is an archive of arrays: save one array as .npy.")
    return array
