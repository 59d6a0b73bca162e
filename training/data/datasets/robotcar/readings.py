"""The files of a raw RobotCar traversal: lists of readings, pose tables and laser scans, each checked as it is read."""

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors.poses.trajectory import Trajectory
from vpr_ros.training.data.datasets.robotcar.models import T_map_base

US = 1000  # nanoseconds of RobotCar's microsecond
MISSING_TOLERATED = 0.02  # of a chunk; real traversals lack single pictures
_NAME = re.compile(r"\d{16}")
_POSE_COLUMNS = ("timestamp", "northing", "easting", "down", "roll", "pitch", "yaw")
_VELOCITY_COLUMNS = ("velocity_north", "velocity_east", "velocity_down")

# HDL-32E: 32 beams every 4/3 degree from 10.67 above to 30.67 below the horizon; raw images hold the top beam first.
_ELEVATIONS = np.radians(np.arange(32) * (4 / 3) - 32 / 3)[:, None]  # positive down, as the sensor's z here
_RANGE_M, _MIN_RANGE_M, _AZIMUTH_RAD, _FIRING_HEIGHT_M = 0.002, 1.0, np.pi / 18000, 0.090805


@dataclass(frozen=True)
class Readings:
    """Readings of one sensor whose files exist."""

    stamps_us: np.ndarray  # (N,) int64 increasing
    folder: Path
    suffixes: tuple[str, ...]  # per sensor kind, e.g. (".png",)
    absent_chunks: tuple[int, ...]  # chunks that were not fetched at all
    missing: int  # readings of fetched chunks without a file

    def path(self, stamp_us: int) -> Path:
        """The reading's file; the first suffix that exists."""
        paths = [self.folder / f"{stamp_us}{suffix}" for suffix in self.suffixes]
        return next((p for p in paths if p.is_file()), paths[0])


def read_stamps(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Stamps (N,) int64 in microseconds and chunk numbers (N,) of a `<sensor>.timestamps` file, one reading a line."""
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise VprError(f"{path} cannot be read ({error}); unpack the traversal's archives again") from None
    for number, words in enumerate(lines, 1):
        if len(words) != 2 or not _NAME.fullmatch(words[0]) or not words[1].isdigit():
            raise VprError(
                f"{path}, line {number}, is not '<16 digits of microseconds> <chunk>' but "
                f"'{' '.join(words)[:40]}'; the file is torn, unpack the traversal's archives again"
            )
    table = np.array([[int(a), int(b)] for a, b in lines], np.int64).reshape(-1, 2)
    stamps, first = np.unique(table[:, 0], return_index=True)
    return stamps, table[first, 1]


def is_velodyne(sensor: str) -> bool:
    """Whether a laser is a Velodyne (one scan is a whole cloud), not an LMS or LD-MRS (one or four planes)."""
    return sensor.startswith("velodyne")


def find_readings(traversal: Path, sensor: str) -> Readings:
    """Readings of a camera ("stereo/centre", "mono_left") or laser ("lms_front", ...) of a traversal.

    A chunk that is wholly absent was not fetched and is left out. Raises VprError where the list or the folder is
    missing, and where more than 2 % of a chunk's files are: a download or an unpacking that stopped halfway.
    """
    folder, listing = traversal / sensor, traversal / f"{sensor.split('/')[0]}.timestamps"
    velodyne = is_velodyne(sensor)
    suffixes = (".bin", ".png") if velodyne else (".bin",) if sensor.startswith(("lms", "ldmrs")) else (".png",)
    if not listing.is_file():
        raise VprError(
            f"{listing} is missing: a RobotCar traversal lists the readings of {sensor} there; unpack its "
            "archives into one folder"
        )
    if not folder.is_dir():
        raise VprError(
            f"{folder} is missing: {sensor} should lie there as <16 digits of microseconds>{suffixes[0]}; "
            "unpack the sensor's archives into the traversal's folder"
        )
    stamps, chunks = read_stamps(listing)
    with os.scandir(folder) as entries:
        there = {e.name[:16] for e in entries if e.name[16:] in suffixes and e.stat().st_size > 0}
    present = np.array([str(s) in there for s in stamps], bool)
    absent, missing = [], 0
    for chunk in np.unique(chunks):
        of_chunk = chunks == chunk
        count, lacking = int(of_chunk.sum()), int((of_chunk & ~present).sum())
        if lacking == count:
            absent.append(int(chunk))
            continue
        if lacking > MISSING_TOLERATED * count:
            first = int(stamps[of_chunk & ~present][0])
            raise VprError(
                f"{folder} lacks {lacking} of the {count} files of chunk {chunk} (the first is "
                f"{first}{suffixes[0]}): download and unpack that chunk again"
            )
        missing += lacking
    if not present.any():
        raise VprError(
            f"{folder} holds none of the {len(stamps)} readings that {listing.name} lists; unpack the "
            "sensor's archives into the traversal's folder"
        )
    return Readings(stamps[present], folder, suffixes, tuple(absent), missing)


def read_poses(path: Path) -> tuple[Trajectory, np.ndarray]:
    """Poses T_map_base of `ins.csv` or `rtk.csv`, and velocities (N, 3) east, north, up in m/s at the same stamps.

    Columns are found by their names. Raises VprError for a missing file, column or number, naming the line.
    """
    names = (*_POSE_COLUMNS, *_VELOCITY_COLUMNS)
    try:
        with path.open(newline="") as stream:
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            lacking = [name for name in names if name not in header]
            if lacking:
                raise VprError(
                    f"{path} lacks the columns {', '.join(lacking)}; it should begin with RobotCar's header "
                    "line, unpack it again"
                )
            columns = [header.index(name) for name in names]
            rows = []
            for row in reader:
                try:
                    rows.append([int(row[columns[0]]), *(float(row[c]) for c in columns[1:])])
                    if len(row) != len(header):
                        raise ValueError
                except (ValueError, IndexError):
                    raise VprError(
                        f"{path}, line {reader.line_num}, is torn or not a number where one is needed; unpack it again"
                    ) from None
    except OSError as error:
        raise VprError(f"{path} cannot be read ({error.strerror}); unpack the traversal's gps archive") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise VprError(f"{path} is no table ({error}); unpack it again") from None
    if not rows:
        raise VprError(f"{path} holds no pose; unpack it again")
    stamps = np.array([row[0] for row in rows], np.int64)
    values = np.array([row[1:] for row in rows], np.float64)
    whole = np.isfinite(values[:, :6]).all(axis=1)
    order = np.flatnonzero(whole)[np.argsort(stamps[whole], kind="stable")]
    order = order[np.unique(stamps[order], return_index=True)[1]]
    northing, easting, down, roll, pitch, yaw = values[order, :6].T
    trajectory = Trajectory(stamps[order] * US, T_map_base(northing, easting, down, roll, pitch, yaw))
    return trajectory, values[order][:, [7, 6, 8]] * [1.0, 1.0, -1.0]


def read_scan(path: Path, sensor: str) -> np.ndarray:
    """Points (N, 4) float32 x, y, z, intensity of one scan, in metres in the sensor's own frame.

    LMS: planar scans, z = 0. LD-MRS has no intensity: 0. Velodyne: the converted `.bin` (planar arrays) or the raw
    `.png`. Not motion-compensated. Raises FrameError where the file is missing, torn or of another layout.
    """
    if path.suffix == ".png":
        return raw_velodyne_points(_read_raw(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FrameError(f"scan {path} cannot be read ({error.strerror})") from None
    unit = 16 if is_velodyne(sensor) else 24
    if len(data) % unit:
        raise FrameError(f"scan {path} has {len(data)} bytes, no multiple of the {unit} of a point; it is torn")
    if is_velodyne(sensor):
        return np.ascontiguousarray(np.frombuffer(data, "<f4").reshape(4, -1).T)
    values = np.frombuffer(data, "<f8").reshape(-1, 3)
    points = np.zeros((len(values), 4), np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and no point
        points[:, :2] = values[:, :2]
        points[:, 2 if sensor == "ldmrs" else 3] = values[:, 2]
    return points


def _read_raw(path: Path) -> np.ndarray:
    image = pictures.read(path, "stored")
    if image is None or image.ndim != 2 or image.dtype != np.uint8 or image.shape[0] < 98:
        raise FrameError(f"raw scan {path} is missing, torn or not an 8-bit image of 98 rows or more")
    return image


def raw_velodyne_points(image: np.ndarray) -> np.ndarray:
    """Points (N, 4) float32 of a raw HDL-32E image (rows, W) uint8, one column per firing; ranges above 1 m only.

    Rows 0-31 intensity, 32-95 range in 2 mm (low byte first), 96-97 azimuth in hundredths of a degree. The frame is
    the sensor's, turned about x so that z points down: x = sin(azimuth), y = -cos(azimuth), height from the base.
    """
    intensity = image[:32].astype(np.float64)
    low, high = image[32:96:2].astype(np.float64), image[33:96:2].astype(np.float64)
    ranges = (low + 256 * high) * _RANGE_M
    azimuth = image[96:98].astype(np.float64).T @ [1.0, 256.0] * _AZIMUTH_RAD
    level = np.cos(_ELEVATIONS) * ranges
    z = np.sin(_ELEVATIONS) * ranges - _FIRING_HEIGHT_M
    points = np.stack([np.sin(azimuth) * level, -np.cos(azimuth) * level, z, intensity], axis=-1)
    return points[ranges > _MIN_RANGE_M].astype(np.float32)
