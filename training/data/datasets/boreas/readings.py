"""The files of a Boreas sequence: pose tables, LiDAR scans, pictures, and the stamps of those that exist."""

import csv
import os
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.training.data.datasets.boreas.calibration import Positions, T_map_sensor, kind_of

US = 1000  # nanoseconds of the microseconds in file names
MISSING_TOLERATED = 0.02  # of the readings that a pose table lists
SUFFIX = {"camera": ".png", "lidar": ".bin"}
POINT_COLUMNS = ("x", "y", "z", "intensity", "laser", "time")
_NAME = re.compile(r"\d{16}")
_COLUMNS = 13  # t, easting, northing, altitude, three velocities, roll, pitch, heading, three angular velocities
_NS_OF_DIGITS = {10: 9, 13: 6, 16: 3, 19: 0}  # digits before the decimal point -> power of ten of a unit in ns


def stamp_to_ns(text: str) -> int:
    """Nanoseconds of a UNIX time in seconds, milliseconds, microseconds or nanoseconds, distinguished by the number of
    its digits.

    Raises ValueError for anything else. (Boreas' tables mostly hold microseconds, some nanoseconds or seconds.)
    """
    try:
        value = Decimal(text.strip())
        whole = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise ValueError(text) from None
    power = _NS_OF_DIGITS.get(len(str(whole)))
    if power is None or whole < 0:
        raise ValueError(text)
    return int(value.scaleb(power).to_integral_value())


@dataclass(frozen=True)
class PoseTable:
    """A `<sensor>_poses.csv`: the sensor's own poses at its own stamps."""

    stamps_ns: np.ndarray  # (N,) int64 increasing
    T_map_sensor: np.ndarray  # (N, 4, 4)
    velocity_mps: np.ndarray  # (N, 3) east, north, up
    turning_radps: np.ndarray  # (N, 3) about x, y, z of the sensor
    kind: Positions  # of positions, see `boreas.calibration`


def read_poses(path: Path) -> PoseTable:
    """Read `applanix/<sensor>_poses.csv` by position of its columns: the headers' names differ between files.

    Raises VprError for a missing file and for the line that is torn.
    """
    stamps, rows = [], []
    try:
        with path.open(newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            if header and header[0][:1].isdigit():
                raise VprError(f"{path} lacks its header line; fetch it again")
            for row in reader:
                try:
                    stamps.append(stamp_to_ns(row[0]))
                    rows.append([float(v) for v in row[1:_COLUMNS]])
                    if len(row) < _COLUMNS or not np.isfinite(rows[-1]).all():
                        raise ValueError
                except (ValueError, IndexError):
                    raise VprError(
                        f"{path}, line {reader.line_num}, is torn or no pose (time in s, us or ns, then 12 "
                        "numbers); fetch it again"
                    ) from None
    except OSError as error:
        raise VprError(
            f"{path} cannot be read ({error.strerror}): a Boreas sequence has its true poses there; fetch "
            "the sequence's applanix/ folder (the benchmark's hidden test sequences have none: they convert "
            "with --no-poses)"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise VprError(f"{path} is no table ({error}); fetch it again") from None
    if not rows:
        raise VprError(f"{path} holds no pose; fetch it again")
    order = np.unique(np.array(stamps, np.int64), return_index=True)[1]
    values, kind = np.array(rows)[order], kind_of(np.array(rows)[:, 1])
    return PoseTable(
        np.array(stamps, np.int64)[order],
        T_map_sensor(values[:, :3], values[:, 6:9], kind),
        values[:, 3:6],
        values[:, [11, 10, 9]],
        kind,
    )


def find_readings(sequence: Path, sensor: str, listed_ns: np.ndarray | None, partial: bool = False) -> np.ndarray:
    """Stamps (N,) int64 in nanoseconds of the files in `camera/` or `lidar/`, increasing.

    `listed_ns` (M,): what the sensor's pose table lists, None without one. Raises VprError where the folder is missing
    or empty, and unless `partial` where more than 2 % of the listed files are: a download that stopped halfway.
    """
    folder, suffix = sequence / sensor, SUFFIX[sensor]
    form = f"<16 digits of microseconds>{suffix}"
    if not folder.is_dir():
        raise VprError(
            f"{folder} is missing: the {sensor} readings of a Boreas sequence lie there as {form}; fetch "
            "that folder of the sequence"
        )
    with os.scandir(folder) as entries:
        names = [e.name[:16] for e in entries if e.name[16:] == suffix and e.stat().st_size > 0]
    stamps = np.sort(np.array([int(n) for n in names if _NAME.fullmatch(n)], np.int64)) * US
    if not len(stamps):
        raise VprError(f"{folder} holds no {form}; fetch that folder of the sequence")
    if listed_ns is not None and not partial:
        lacking = listed_ns[~np.isin(listed_ns // US, stamps // US)]
        if len(lacking) > MISSING_TOLERATED * len(listed_ns):
            raise VprError(
                f"{folder} lacks {len(lacking)} of the {len(listed_ns)} files that applanix/{sensor}_poses."
                f"csv lists (the first is {int(lacking[0]) // US}{suffix}): run the download again, or say "
                "that a part of the sequence is wanted (--partial)"
            )
    return stamps


def read_scan(path: Path) -> np.ndarray:
    """Points (N, 6) float32 of a scan: x, y, z in metres in the LiDAR's frame, intensity, laser number, and the time in
    seconds relative to the file's stamp, which is the middle of the scan.

    Not motion-compensated. Raises FrameError where the file is missing or torn.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FrameError(f"scan {path} cannot be read ({error.strerror})") from None
    unit = 4 * len(POINT_COLUMNS)
    if len(data) % unit:
        raise FrameError(
            f"scan {path} has {len(data)} bytes, no multiple of the {unit} of a point; it is torn or no Velodyne scan"
        )
    return np.frombuffer(data, "<f4").reshape(-1, len(POINT_COLUMNS)).astype(np.float32)
