"""Truth of two folders of pictures, as it is named on the command line."""

from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation.numbered_pairs import kind_of_file
from vpr_ros.evaluation.numbering import OUT, frame_rows, numbers_in_step
from vpr_ros.evaluation.truth import Truth, frame_tolerance, truth_from_frames, truth_from_names, truth_from_utm
from vpr_ros.evaluation.truth_sources import TruthSource, parse_truth, truth_of
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.sensors.bags.drive_frames import DriveFrames
from vpr_ros.sensors.bags.picture_reader import picture_stamp

ONLY_SESSION = 0


def truth_for_folders(
    spec: str, queries: Sequence[str | Path], database: Sequence[str | Path], tolerance: int = 0
) -> Truth:
    """Truth of two folders, whose files are given in natural order; ids are rows of `database`.

    `spec` is `names`, `frames:K` (numbers differ by at most K: see `numbers_in_step`), `utm[:RADIUS_M]`, or a file: a
    table of names or numbers or an array, as in `evaluation.numbered_pairs`; `tolerance` is of the file's rows without
    one, in pictures. Raises VprError for anything else, and for a rule that does not fit the files.
    """
    kind, _, value = spec.partition(":")
    if spec == "names":
        return truth_from_names(_names(queries), _names(database))
    frames = frame_tolerance(spec)
    if frames is not None:
        return truth_in_step(queries, database, frames)
    if kind == "utm":
        try:
            radius_m = float(value) if value else 25.0
        except ValueError:
            raise VprError(f"--truth {spec!r} is not understood: give metres, as in utm:25.") from None
        return truth_from_utm(_names(queries), _names(database), radius_m)
    return _truth_of_file(parse_truth(spec, "utm:RADIUS_M, "), queries, database, tolerance)


def _names(files: Sequence[str | Path]) -> list[str]:
    return [PurePath(file).name for file in files]


def truth_in_step(queries: Sequence[str | Path], database: Sequence[str | Path], tolerance: int) -> Truth:
    """Truth of two walks in step: right within `tolerance` frames."""
    asked, numbers = numbers_in_step(queries, database)
    kept = np.flatnonzero(numbers != OUT)
    truth = truth_from_frames(asked, kept, numbers[kept], tolerance)
    return Truth(truth.positives, asked != OUT, np.arange(len(database)), truth.rule)


def _truth_of_file(
    source: TruthSource, queries: Sequence[str | Path], database: Sequence[str | Path], tolerance: int
) -> Truth:
    kind = kind_of_file(source.path) if source.path is not None else "stamps"
    if kind == "stamps":
        raise VprError(
            f"the truth '{source.path}' names pictures by neither file names nor, with the header "
            "query_frame,reference_frame, by numbers: pictures in folders have no stamps."
        )
    if kind == "names":
        rows = np.arange(len(queries)), np.arange(len(database))
    else:
        rows = frame_rows(queries, "query"), frame_rows(database, "reference")
    asked, mapped = _frames(queries, rows[0], "the folder of queries"), _frames(database, rows[1], "that of references")
    nowhere = np.full((len(mapped), 4, 4), np.nan)
    sessions = np.full(len(mapped), ONLY_SESSION)
    keyframes = Keyframes(rows[1], sessions, mapped.stamps_ns, nowhere, nowhere, np.zeros((len(mapped), 0), np.float16))
    stamps = np.full(len(queries), -1, np.int64)
    stamps[rows[0]] = asked.stamps_ns
    return truth_of(source, stamps, keyframes, lambda: asked, lambda: {ONLY_SESSION: mapped}, tolerance)


def _frames(files: Sequence[str | Path], rows: np.ndarray, source: str) -> DriveFrames:
    """The files of these rows as a drive."""
    stamps = [picture_stamp(number) for number in range(len(rows))]
    return DriveFrames(source, np.array(stamps, np.int64), tuple(str(files[row]) for row in rows))
