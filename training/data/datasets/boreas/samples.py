"""Boreas as a sample set: raw sequences, and the folders that were prepared for DistilVPR's benchmark."""

import csv
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, yaw_of
from vpr_ros.sensors.clouds import transformed
from vpr_ros.sensors.stamps import nearest
from vpr_ros.training.data.datasets.boreas.calibration import MAP_ORIGIN, UTM, kind_of
from vpr_ros.training.data.datasets.boreas.readings import US, stamp_to_ns
from vpr_ros.training.data.datasets.boreas.sequence import CONDITIONS, BoreasSequence
from vpr_ros.training.data.sample import METRES, Modality, Sample, SampleSet
from vpr_ros.training.data.sensor_files import read_rgb
from vpr_ros.training_set.clouds import read_npy_cloud

SENSORS = ("camera", "lidar")
CLOUDS, PICTURES = "lidar_1_4096_interval10", "camera_lidar_interval10"  # of a prepared sequence
TABLE = "pointcloud_locations_interval10.csv"


class BoreasSamples(SampleSet):
    """Sequences as one set: every n-th picture, with the LiDAR scan nearest in time, moved to the picture's time.

    A sample's stamp and pose are the picture's (without "camera" in `sensors`: the scan's). Readings without a pose and
    pictures without a scan within `max_gap_s` are left out. All positions are in the map frame of `boreas.calibration`,
    one area. Scans are not corrected for the car's motion while they were taken, as in the published benchmark.

    every: takes every n-th of ten readings a second, 10 in the published benchmark. spacing_m instead: takes a reading
    at least so far from the last one taken. reduce: divides both sides of the pictures (8: 306x256). points: as many
    points at random of each scan, the same ones whenever it is read; None keeps all 200,000. partial: see
    `BoreasSequence`. Raises VprError, one sentence, for folders that are not a sequence or are incomplete, and for
    sequences that share no frame.
    """

    name, cloud_unit = "boreas", METRES

    def __init__(
        self,
        folders: Sequence[str | Path],
        *,
        sensors: Sequence[str] = SENSORS,
        every: int = 10,
        spacing_m: float | None = None,
        reduce: int = 8,
        points: int | None = 4096,
        max_gap_s: float = 0.1,
        partial: bool = False,
    ):
        if not sensors or set(sensors) - set(SENSORS):
            raise VprError(f"Boreas samples come from {' and '.join(SENSORS)}, not from '{', '.join(sensors)}'")
        if every < 1 or reduce < 1 or (points is not None and points < 1) or (spacing_m is not None and spacing_m <= 0):
            raise VprError("every, reduce, points and spacing_m must be positive numbers")
        self.sequences = [BoreasSequence(folder, partial) for folder in folders]
        if not self.sequences:
            raise VprError("no Boreas sequence was given; name at least one folder boreas-YYYY-MM-DD-HH-MM")
        self._reduce, self._points = reduce, points
        _check_distinct([q.name for q in self.sequences])
        kinds = {q.name: q.kind for q in self.sequences}
        if len(set(kinds.values())) > 1:
            one, other = (next(n for n, k in kinds.items() if k == kind) for kind in sorted(set(kinds.values())))
            raise VprError(
                f"{one} and {other} share no frame: one has positions relative to the first sequence, the "
                "other of UTM size; fetch the applanix/ folders of all sequences anew"
            )
        rows = [_sample_poses(q, sensors, every, spacing_m, max_gap_s) for q in self.sequences]
        self._sequence = np.repeat(np.arange(len(rows)), [len(r[0]) for r in rows])
        self.stamps_ns = np.concatenate([r[0] for r in rows])
        self._scans = np.concatenate([r[1] for r in rows]) if "lidar" in sensors else None
        self._T, self._T_scan = (np.concatenate([r[i] for r in rows]) for i in (2, 3))
        self._has_images = "camera" in sensors
        if not len(self.stamps_ns):
            raise VprError(
                f"{', '.join(kinds)} give no sample: no reading has a pose"
                + (" and a reading of the other sensor near in time" if len(sensors) > 1 else "")
            )
        self.positions_m, self.headings_rad = self._T[:, :2, 3].copy(), np.asarray(yaw_of(self._T))
        self.drives = np.array([q.name for q in self.sequences])[self._sequence]
        self.conditions = np.array([q.condition for q in self.sequences])[self._sequence]
        self.areas = np.full(len(self.stamps_ns), "boreas")

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        sequence, stamp = self.sequences[self._sequence[row]], int(self.stamps_ns[row])
        image = sequence.image(stamp, self._reduce) if self._has_images and "image" in modalities else None
        scans = self._scans if "cloud" in modalities else None
        cloud = None if scans is None else self._cloud(sequence, int(scans[row]), row)
        return Sample(image, cloud, self._T[row].copy(), stamp, condition=sequence.condition, drive=sequence.name)

    def _cloud(self, sequence: BoreasSequence, stamp: int, i: int) -> np.ndarray:
        points = sequence.scan(stamp)[:, :3]
        points = points[np.isfinite(points).all(axis=1)]
        if self._points is not None and len(points) > self._points:
            rng = np.random.default_rng(stamp)
            points = points[np.sort(rng.choice(len(points), self._points, replace=False))]
        # By the difference of the poses: their coordinates are too large for single precision.
        return transformed(points, invert(self._T[i]) @ self._T_scan[i] @ sequence.T_base_lidar)


def _check_distinct(names: list[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise VprError(f"Boreas sequence {twice[0]} is given twice; name each sequence once")


def _sample_poses(sequence: BoreasSequence, sensors, every: int, spacing_m: float | None, max_gap_s: float):
    """Stamps (N,), stamps of their scans (N,), poses (N, 4, 4) at both, of a sequence's samples."""
    stamps = sequence.stamps_ns("camera" if "camera" in sensors else "lidar")
    if spacing_m is None:
        stamps = stamps[::every]
    T, covered = sequence.poses.at_many(stamps)
    scans, T_scan = stamps, T
    if len(set(sensors)) > 1:
        scans = (there := sequence.stamps_ns("lidar"))[nearest(stamps, there)[:, 0]]
        T_scan, known = sequence.poses.at_many(scans)
        covered &= known & (np.abs(scans - stamps) <= max_gap_s * 1e9)
    rows = np.flatnonzero(covered)
    if spacing_m is not None:
        rows = rows[rows_with_spacing(T[rows, :2, 3], spacing_m)]
    return stamps[rows], scans[rows], T[rows], T_scan[rows]


def rows_with_spacing(positions_m: np.ndarray, spacing_m: float) -> np.ndarray:
    """Rows of positions (N, 2) that lie at least `spacing_m` from the row taken before them; the first is taken."""
    taken: list[int] = []
    for row in range(len(positions_m)):
        if not taken or np.hypot(*(positions_m[row] - positions_m[taken[-1]])) >= spacing_m:
            taken.append(row)
    return np.array(taken, np.int64)


class BoreasPrepared(SampleSet):
    """Sequences as they were prepared for DistilVPR's benchmark (FORMATS section 2.5).

        boreas-YYYY-MM-DD-HH-MM/
          lidar_1_4096_interval10/<t>.npy        4096 x 3, metres, in the LiDAR's frame
          camera_lidar_interval10/<t>.png
          pointcloud_locations_interval10.csv    timestamp,northing,easting

    The i-th cloud belongs to the i-th picture, both sorted by name. Positions are moved by MAP_ORIGIN where they have
    the size of UTM coordinates. The folders hold no heading, so samples have no pose. Raises VprError, one sentence.
    """

    name, cloud_unit = "boreas", METRES

    def __init__(self, folders: Sequence[str | Path]):
        tables = [_prepared(Path(folder)) for folder in folders]
        if not tables:
            raise VprError("no prepared Boreas sequence was given; name at least one folder boreas-YYYY-MM-DD-HH-MM")
        _check_distinct([Path(folder).resolve().name for folder in folders])
        kinds = {Path(f).name: kind_of(t[1][:, 1]) for f, t in zip(folders, tables, strict=True)}
        if len(set(kinds.values())) > 1:
            raise VprError(
                f"the positions of {', '.join(kinds)} are partly of UTM size and partly relative; prepare "
                "the sequences in one frame"
            )
        origin = MAP_ORIGIN[:2] if UTM in kinds.values() else (0.0, 0.0)
        self.stamps_ns = np.concatenate([t[0] for t in tables])
        self.positions_m = np.concatenate([t[1] for t in tables]) - origin
        self._clouds, self._pictures = ([p for t in tables for p in t[i]] for i in (2, 3))
        names = np.array([Path(folder).resolve().name for folder in folders])
        self.drives = np.repeat(names, [len(t[0]) for t in tables])
        self.conditions = np.array([CONDITIONS.get(str(d), "") for d in self.drives])
        self.areas = np.full(len(self.drives), "boreas")

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        return Sample(
            read_rgb(self._pictures[row]) if "image" in modalities else None,
            read_npy_cloud(self._clouds[row]) if "cloud" in modalities else None,
            None,
            int(self.stamps_ns[row]),
            condition=str(self.conditions[row]),
            drive=str(self.drives[row]),
        )


def _prepared(folder: Path) -> tuple[np.ndarray, np.ndarray, list[Path], list[Path]]:
    """Stamps (N,), positions (N, 2) easting, northing, clouds and pictures of one prepared sequence."""
    table = folder / TABLE
    try:
        with table.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        stamps = np.array([stamp_to_ns(row["timestamp"]) for row in rows], np.int64)
        positions = np.array([[row["easting"], row["northing"]] for row in rows], np.float64).reshape(-1, 2)
    except OSError as error:
        raise VprError(
            f"{table} cannot be read ({error.strerror}): a prepared Boreas sequence lists its clouds "
            "there; prepare the sequence, or read it as a raw one"
        ) from None
    except (KeyError, TypeError, ValueError, UnicodeDecodeError, csv.Error):
        raise VprError(
            f"{table} is torn or lacks one of the columns timestamp, northing, easting; fetch it again"
        ) from None
    clouds, pictures = sorted((folder / CLOUDS).glob("*.npy")), sorted((folder / PICTURES).glob("*.png"))
    if not len(stamps) == len(clouds) == len(pictures) or not len(stamps):
        raise VprError(
            f"{folder} is not whole: {TABLE} lists {len(stamps)} clouds, {CLOUDS}/ holds {len(clouds)} .npy "
            f"and {PICTURES}/ {len(pictures)} .png; prepare or fetch the sequence again"
        )
    order = np.argsort(stamps, kind="stable")
    named = [path.stem for path in clouds]
    if named != [str(stamp // US) for stamp in stamps[order]]:
        odd = next(n for n, s in zip(named, stamps[order], strict=True) if n != str(s // US))
        raise VprError(
            f"{folder / CLOUDS / odd}.npy is not a cloud that {TABLE} lists at its place; prepare or fetch "
            "the sequence again"
        )
    return stamps[order], positions[order], clouds, pictures
