"""The index of a map, with the files beside it that make a large one open fast: `<map>.rows` and `<map>.faiss`.

They are named by what they hold, and anyone may delete them: they are made anew.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.place_map.index.place_index import PlaceIndex
from vpr_ros.place_map.index.row_file import mapped_rows
from vpr_ros.place_map.index.rows import Rows
from vpr_ros.place_map.schema import SUMS_SINCE, schema_version
from vpr_ros.place_map.store import PlaceMap


def content_of(place_map: PlaceMap, made_of_it: str = "") -> str | None:
    """A name of all keyframes of a map and of what was made of their descriptors; None where no file can rely on one.

    Sums of their rows and descriptors are in it: two copies of a map may have been edited in different ways.
    """
    if place_map.pending:
        return None  # what is not saved may be gone, and something else have its number
    with place_map.reading() as db:
        if schema_version(db) < SUMS_SINCE:
            return None
        sums = db.execute("SELECT count(*), coalesce(sum(keyframes), 0), coalesce(sum(descriptors), 0) FROM checksums")
        return ":".join(map(str, (place_map.map_id, place_map.version, *sums.fetchone()))) + made_of_it


def map_rows(
    place_map: PlaceMap, shape: tuple[int, int], fill: Callable[[np.ndarray], object], made_of_it: str = ""
) -> np.ndarray:
    """Descriptors `shape` of all keyframes of a map as they are compared, which `fill` writes, in `<map>.rows`."""
    key = content_of(place_map, made_of_it)
    if key is None:
        rows = np.empty(shape, dtype=np.float16)
        fill(rows)
        return rows
    return mapped_rows(Path(f"{place_map.path}.rows"), key, shape, fill)


def map_index(
    place_map: PlaceMap, rows: Rows, made_of_it: str = "", suffix: str = "", exact_rows: int | None = None
) -> PlaceIndex:
    """Index over the descriptors (N, dim) of all keyframes of a map, row for row.

    `made_of_it` names what was done to them, `suffix` the file where they are one part of several. An exact index is
    built in memory, which is faster than reading it; codes are kept in `<map><suffix>.faiss`, which is made anew
    whenever it is missing, torn, or of other content than the map. A folder that cannot be written costs only time.
    """
    index = PlaceIndex(rows.shape[1], exact_rows, place_map.path.parent)
    key = content_of(place_map, made_of_it) if len(rows) > index.exact_rows else None
    if key is None:
        return index.build(rows)
    with suppress(VprError, RuntimeError):  # the index is built, its file could not be written
        index.build_cached(rows, Path(f"{place_map.path}{suffix}.faiss"), key)
    return index
