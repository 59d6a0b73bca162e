"""Which pictures of two folders belong together by number: decided for both folders at once, or refused."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import basename, splitext
from pathlib import Path

import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import VprError

_DIGITS = re.compile("[0-9]+")
OUT = -1  # number of a file that is no frame
_FILE = "name the pairs in a file, --truth pairs.csv"


@dataclass(frozen=True)
class _Side:
    """The frames of one folder: their rows among its files, and the numbers in their names."""

    rows: np.ndarray
    numbers: np.ndarray | None  # None: the names do not number the frames
    clash: str = ""  # two names with one number, as a sentence

    @property
    def span(self) -> tuple[int, int] | None:
        if self.numbers is None or not len(self.numbers):
            return None
        return int(self.numbers.min()), int(self.numbers.max())

    def without_broken(self, other: "_Side", files: Sequence[str | Path]) -> "_Side":
        """Without the frames whose numbers the other folder lacks, where all of these are broken files."""
        if self.numbers is None or other.numbers is None:
            return self
        shared = np.isin(self.numbers, other.numbers)
        if not all(_is_broken(files[row]) for row in self.rows[~shared]):
            return self
        return _Side(self.rows[shared], self.numbers[shared])

    def numbered(self, count: int, by_name: bool) -> np.ndarray:
        """Numbers of all `count` files: those of the names, or places in the order; OUT where a file is no frame."""
        out = np.full(count, OUT, np.int64)
        out[self.rows] = self.numbers if by_name and self.numbers is not None else np.arange(len(self.rows))
        return out


def frame_rows(files: Sequence[str | Path], what: str) -> np.ndarray:
    """Rows (F,) of the files, in their order, that are frames of a drive.

    Where other names have numbers, a file without one is no frame if it is no readable picture; VprError naming it if
    it is one, since its place among the frames is not known.
    """
    numbered = np.array([_DIGITS.search(_stem(file)) is not None for file in files], bool)
    if not numbered.any():
        return np.arange(len(files))
    for row in np.flatnonzero(~numbered).tolist():
        if not _is_broken(files[row]):
            raise VprError(
                f"{what} picture {basename(files[row])} has no number in its name, and {numbered.sum()} of the "
                f"{len(files)} have: which frame it is cannot be told; take it out of the folder, or {_FILE} with "
                "names."
            )
    return np.flatnonzero(numbered)


def numbers_in_step(queries: Sequence[str | Path], database: Sequence[str | Path]) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers (Q,) and (D,) of the pictures of two walks in step, whose files are given in natural order.

    The numbers in the names count where both folders use the same ones, from the same first to the same last; numbers
    that have nothing in common, and names without any, are replaced by the place in the order. A broken file without a
    number of its own is OUT. Raises VprError for walks of different length, and where names and order tell different
    pairs.
    """
    query, reference = _side(queries, "query"), _side(database, "reference")
    if len(query.rows) != len(reference.rows):
        query, reference = query.without_broken(reference, queries), reference.without_broken(query, database)
    clash = query.clash or reference.clash
    if len(query.rows) != len(reference.rows):
        raise VprError(
            f"there are {len(query.rows)} query and {len(reference.rows)} reference pictures: frames:K is for two "
            f"walks in step and pairs none of different length; {_FILE} or .npy, or use names. {clash}".strip()
        )
    if clash and (query.span or reference.span):
        raise VprError(f"the numbers in the names do not tell the frames: {clash} Rename, or {_FILE}.")
    by_name = _same_scheme(query.span, reference.span)
    return query.numbered(len(queries), by_name), reference.numbered(len(database), by_name)


def common_numbers(drives: Sequence[tuple[str, Sequence[str]]]) -> list[np.ndarray] | None:
    """Numbers in the names of the pictures of drives, given with what each is; None where they do not tell the frames.

    They do where every drive has them and begins with the same one; drives may end at different ones, and lack some.
    Raises VprError for a picture without a number among numbered ones, and for two of one number.
    """
    if not all(names and all(names) for _, names in drives):
        return None
    sides = [_side(names, what) for what, names in drives]
    numbered = [side for side in sides if side.numbers is not None]
    clash = next((side.clash for side in sides if side.clash), "")
    if clash and numbered:
        raise VprError(f"the numbers in the names do not tell the frames: {clash} Rename, or {_FILE}.")
    if len(numbered) < len(sides) or len({side.numbers[0] for side in numbered if side.numbers is not None}) > 1:
        return None
    return [side.numbers for side in sides if side.numbers is not None]


def _same_scheme(query: tuple[int, int] | None, reference: tuple[int, int] | None) -> bool:
    """Whether the numbers in the names tell the pairs, rather than the order."""
    if query is None or reference is None or query[1] < reference[0] or reference[1] < query[0]:
        return False
    if query == reference:
        return True
    raise VprError(
        f"the query pictures are numbered {query[0]} to {query[1]} and the references {reference[0]} to "
        f"{reference[1]}, as many: whether equal numbers or equal places in the order belong together cannot be told; "
        f"rename those of one folder, or {_FILE}."
    )


def _side(files: Sequence[str | Path], what: str) -> _Side:
    rows = frame_rows(files, what)
    names = [basename(files[row]) for row in rows]
    found = [[int(digits) for digits in _DIGITS.findall(_stem(name))] for name in names]
    # The last number that differs between the names: of left_0007_v2.png, 7.
    for place in range(1, min(map(len, found), default=0) + 1):
        numbers = [own[-place] for own in found]
        if len(set(numbers)) > 1 or len(numbers) == 1:
            break
    else:
        return _Side(rows, None)
    first: dict[int, int] = {}  # number -> place among the rows
    for place, number in enumerate(numbers):
        if number not in first or _is_broken(files[rows[first[number]]]):
            first[number] = place
        elif not _is_broken(files[rows[place]]):
            same = f"{names[first[number]]} and {names[place]} have the same number {number}"
            return _Side(rows, None, f"The {what} pictures {same}.")
    if max(numbers) >= 2**62:
        return _Side(rows, None)
    kept = sorted(first.values())
    return _Side(rows[kept], np.array(numbers, np.int64)[kept])


def _stem(file: str | Path) -> str:
    return splitext(basename(file))[0]  # as PurePath.stem, at a tenth of its time


def _is_broken(file: str | Path) -> bool:
    return Path(file).is_file() and pictures.read(file) is None
