"""Ground truth for robots without poses: a CSV of query stamp, reference stamp, tolerance in frames."""

import csv
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vpr_ros.atomic import whole_text
from vpr_ros.errors import VprError
from vpr_ros.evaluation.truth import Truth

MOST_NS = np.iinfo(np.int64).max
JOIN_NS = 1000  # stamps that went through a float64 of seconds are off by up to a few hundred nanoseconds


class Pair(NamedTuple):
    """`reference_ns` None says that the query lies off the map; `tolerance` None takes the caller's."""

    query_ns: int
    reference_ns: int | None
    tolerance: int | None = None


def read_pairs(path: str | Path) -> list[Pair]:
    """Rows `query_stamp,reference_stamp[,tolerance]`, with or without a header line.

    Whole numbers are nanoseconds, numbers with a decimal point are seconds. An empty reference means off the map;
    a query may have several rows. Raises VprError naming the line.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VprError(f"cannot read the pairs file {path}: {error}") from error
    pairs = []
    for number, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        try:
            reference = cells[1] if len(cells) > 1 else ""
            tolerance = int(cells[2]) if len(cells) > 2 and cells[2] else None
            if tolerance is not None and tolerance < 0:
                raise ValueError("negative tolerance")
            pairs.append(Pair(_stamp(cells[0]), _stamp(reference) if reference else None, tolerance))
        except (ValueError, InvalidOperation) as error:
            if number == 1:
                continue  # the header
            raise VprError(
                f"{path} line {number} is not `query_stamp,reference_stamp,tolerance`: {','.join(row)!r}"
            ) from error
    if not pairs:
        raise VprError(f"{path} holds no pairs; write one line `query_stamp,reference_stamp,tolerance` per query")
    return pairs


def _stamp(text: str) -> int:
    value = Decimal(text)
    if not value.is_finite() or value.adjusted() > 20:  # before a number of a million digits is spelled out
        raise ValueError(text)
    whole = "." not in text and "e" not in text.lower()
    stamp = int(value if whole else value.scaleb(9).to_integral_value())
    if not 0 <= stamp <= MOST_NS:
        raise ValueError(text)
    return stamp


def write_pairs(path: str | Path, pairs: list[Pair]) -> None:
    """Write a file that `read_pairs` reads back."""
    with whole_text(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["query_stamp_ns", "reference_stamp_ns", "tolerance_frames"])
        writer.writerows(["" if cell is None else cell for cell in pair] for pair in pairs)


def truth_from_pairs(
    query_stamps_ns: np.ndarray,
    keyframe_ids: np.ndarray,
    keyframe_stamps_ns: np.ndarray,
    pairs: list[Pair],
    tolerance: int = 0,
    max_gap_s: float = 1.0,
    sessions: np.ndarray | None = None,
) -> Truth:
    """Keyframes at most `tolerance` keyframes away from the one that is nearest in time to the reference stamp.

    Frames are counted in order of stamp within the session of that keyframe. Queries that no row names have no truth;
    a row with an empty reference puts its query off the map; a reference with no keyframe within `max_gap_s` gives no
    truth. Raises VprError if no row fits the stamps at all.
    """
    queries = np.asarray(query_stamps_ns, np.int64)
    ids, stamps = np.asarray(keyframe_ids, np.int64), np.asarray(keyframe_stamps_ns, np.int64)
    session = np.zeros(len(ids), np.int64) if sessions is None else np.unique(sessions, return_inverse=True)[1].ravel()
    order = np.lexsort((stamps, session))
    ids, stamps, session = ids[order], stamps[order], session[order]

    known = np.zeros(len(queries), dtype=bool)
    found: list[set[int]] = [set() for _ in queries]
    for pair in pairs:
        for q in np.flatnonzero(np.abs(queries - pair.query_ns) <= JOIN_NS):
            if pair.reference_ns is None:
                known[q] = True
                continue
            gaps = np.abs(stamps - pair.reference_ns)
            if not len(gaps) or gaps.min() > max_gap_s * 1e9:
                continue
            known[q] = True
            centre = int(gaps.argmin())
            reach = tolerance if pair.tolerance is None else pair.tolerance
            rows = np.arange(max(0, centre - reach), min(len(ids), centre + reach + 1))
            found[q].update(ids[rows[session[rows] == session[centre]]].tolist())
    if len(queries) and not known.any():
        raise VprError(
            "no row of the pairs file fits both a query stamp and a keyframe stamp; stamps are nanoseconds of the "
            "image headers (or seconds with a decimal point), query drive first"
        )
    return Truth(
        positives=tuple(np.array(sorted(f), dtype=np.int64) for f in found),
        known=known,
        keyframe_ids=np.asarray(keyframe_ids, np.int64),
        rule="A match is right when the pairs file names its keyframe, or one within the tolerance in frames.",
    )
