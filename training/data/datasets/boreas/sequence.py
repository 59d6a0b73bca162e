"""One sequence of the Boreas data set, in the layout of its development kit (FORMATS section 2.4), and its splits.

    boreas-YYYY-MM-DD-HH-MM/
      applanix/{camera,lidar}_poses.csv
      calib/{P_camera,T_applanix_lidar,T_camera_lidar}.txt
      camera/<16 digits of microseconds>.png     lidar/<16 digits of microseconds>.bin

Radar, IMU, wheel encoder and the FMCW LiDAR of the Road Trip sequences are not read.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import invert
from vpr_ros.sensors.poses.trajectory import Trajectory
from vpr_ros.training.data.datasets.boreas.calibration import Calibration, Positions, read_calibration
from vpr_ros.training.data.datasets.boreas.readings import (
    SUFFIX,
    US,
    PoseTable,
    find_readings,
    read_poses,
    read_scan,
)

NAME = re.compile(r"boreas-\d{4}(-\d\d){4}")
# The split of DistilVPR's benchmark, as a public script that makes it lists it: by sequence, all on one route.
TRAIN = (
    "boreas-2020-11-26-13-58",
    "boreas-2020-12-01-13-26",
    "boreas-2020-12-18-13-44",
    "boreas-2021-05-13-16-11",
    "boreas-2021-07-20-17-33",
    "boreas-2021-07-27-14-43",
)
CONDITIONS = {  # of the test sequences; each is database and query
    "boreas-2021-01-26-11-22": "snow",
    "boreas-2021-04-29-15-55": "rain",
    "boreas-2021-06-17-17-52": "sun",
    "boreas-2021-09-14-20-00": "night",
    "boreas-2021-10-15-12-35": "clouds",
    "boreas-2021-11-02-11-16": "sun/clouds",
}
TEST = tuple(CONDITIONS)
SPLITS = {"train": TRAIN, "test": TEST}


class BoreasSequence:
    """A sequence's folder: what was recorded when and where, and the readings themselves on demand.

    Stamps are nanoseconds. `partial` accepts a download of which readings are missing. Raises VprError where the folder
    is not a sequence.
    """

    def __init__(self, folder, partial: bool = False):
        self.folder, self.partial = Path(folder), partial
        _check_layout(self.folder)
        self.name = self.folder.resolve().name
        self._stamps: dict[str, np.ndarray] = {}

    @property
    def condition(self) -> str:
        """Weather and light where they are known, otherwise ""."""
        return CONDITIONS.get(self.name, "")

    def has(self, sensor: str) -> bool:
        """Whether the folder of a sensor ("camera" or "lidar") exists."""
        return (self.folder / sensor).is_dir()

    def stamps_ns(self, sensor: str) -> np.ndarray:
        """Stamps (N,) int64 of the readings whose files are there; VprError as `find_readings`."""
        if sensor not in self._stamps:
            listed = read_poses(path).stamps_ns if (path := self._poses_path(sensor)).is_file() else None
            self._stamps[sensor] = find_readings(self.folder, sensor, listed, self.partial)
        return self._stamps[sensor]

    @cached_property
    def calibration(self) -> Calibration:
        """The whole calibration; VprError where a file of the camera's is missing, too."""
        return read_calibration(self.folder / "calib")

    @cached_property
    def T_base_lidar(self) -> np.ndarray:
        """Pose (4, 4) of the LiDAR in the base frame; needs T_applanix_lidar.txt only."""
        return read_calibration(self.folder / "calib", camera=False).T_base_lidar

    @cached_property
    def _base_poses(self) -> tuple[PoseTable, np.ndarray]:
        """The pose table in use and T_sensor_base: the LiDAR's, or the camera's where that is missing."""
        if self._poses_path("lidar").is_file() or not self._poses_path("camera").is_file():
            return read_poses(self._poses_path("lidar")), invert(self.T_base_lidar)
        T_base_camera = self.calibration.T_base_camera
        assert T_base_camera is not None
        return read_poses(self._poses_path("camera")), invert(T_base_camera)

    @property
    def kind(self) -> Positions:
        """Kind of positions (see `boreas.calibration`); sequences of two kinds share no frame."""
        return self._base_poses[0].kind

    @cached_property
    def poses(self) -> Trajectory:
        """Poses T_map_base at about 10 Hz, post-processed from GNSS, IMU and wheels."""
        table, T_sensor_base = self._base_poses
        return Trajectory(table.stamps_ns, table.T_map_sensor @ T_sensor_base)

    @cached_property
    def velocities(self) -> tuple[np.ndarray, np.ndarray]:
        """Velocities of the base in its own frame at the stamps of `poses`: (N, 3) m/s, (N, 3) rad/s about x, y, z."""
        table, T_sensor_base = self._base_poses
        R_base_sensor = T_sensor_base[:3, :3].T
        turning = table.turning_radps @ R_base_sensor.T
        R_map_base = self.poses.T[:, :3, :3]
        of_sensor = np.einsum("nji,nj->ni", R_map_base, table.velocity_mps)
        # The base is not where the sensor is: turning moves it sideways.
        return of_sensor - np.cross(turning, invert(T_sensor_base)[:3, 3]), turning

    def image(self, stamp_ns: int, reduce: int = 1) -> np.ndarray:
        """Picture (H, W, 3) uint8 RGB of a stamp, both sides divided by `reduce`; FrameError as `pictures.load`."""
        image = pictures.load(self._path("camera", stamp_ns))
        if reduce == 1:
            return image
        height, width = image.shape[:2]
        size = max(1, width // reduce), max(1, height // reduce)
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def scan(self, stamp_ns: int) -> np.ndarray:
        """Points (N, 6) of a stamp in the LiDAR's frame, as `read_scan`; FrameError as there."""
        return read_scan(self._path("lidar", stamp_ns))

    def file_bytes(self, sensor: str, stamp_ns: int) -> int:
        """Size of a reading's file."""
        return self._path(sensor, stamp_ns).stat().st_size

    def image_size(self) -> tuple[int, int]:
        """Height and width of the pictures, from the first that can be read."""
        error = None
        for stamp in self.stamps_ns("camera")[:5]:
            try:
                height, width = self.image(int(stamp)).shape[:2]
                return height, width
            except FrameError as wrong:
                error = error or wrong
        raise VprError(f"no picture of {self.folder / 'camera'} can be read to begin with: {error}")

    def _path(self, sensor: str, stamp_ns: int) -> Path:
        return self.folder / sensor / f"{int(stamp_ns) // US:016d}{SUFFIX[sensor]}"

    def _poses_path(self, sensor: str) -> Path:
        return self.folder / "applanix" / f"{sensor}_poses.csv"


def find_sequences(root, names: str | Sequence[str] = ()) -> list[Path]:
    """Folders of sequences below `root`: of a split ("train", "test"), of the names, or all there are.

    Raises VprError naming the sequences that are missing, and where `root` holds none.
    """
    root = Path(root)
    if isinstance(names, str):
        if names not in SPLITS:
            raise VprError(f"Boreas has no split '{names}': choose {' or '.join(SPLITS)}, or name sequences")
        names = SPLITS[names]
    if not root.is_dir():
        raise VprError(f"{root} is not a folder; give the folder that holds boreas-YYYY-MM-DD-HH-MM/")
    found = sorted(p for p in root.iterdir() if p.is_dir() and NAME.fullmatch(p.name))
    if not found:
        raise VprError(f"{root} holds no sequence boreas-YYYY-MM-DD-HH-MM/; give the folder above them")
    if not names:
        return found
    missing = [n for n in names if not (root / n).is_dir()]
    if missing:
        raise VprError(
            f"{root} lacks {len(missing)} of {len(names)} sequences: {', '.join(missing)}; fetch them, or "
            "name the sequences to use"
        )
    return [root / n for n in names]


def _check_layout(folder: Path) -> None:
    """VprError unless the folder looks like one sequence."""
    if not folder.is_dir():
        raise VprError(f"{folder} is not a folder; give a Boreas sequence boreas-YYYY-MM-DD-HH-MM")
    inside = sorted(p.name for p in folder.iterdir() if p.is_dir())
    if "applanix" in inside or "calib" in inside:
        return
    sequences = [n for n in inside if NAME.fullmatch(n)]
    if sequences:
        raise VprError(f"{folder} holds {len(sequences)} sequences; give one of them, e.g. {folder / sequences[0]}")
    if any(folder.glob("*.timestamps")) or "gps" in inside:
        raise VprError(f"{folder} is a RobotCar traversal, not a Boreas sequence; use `vpr_ros convert robotcar`")
    raise VprError(
        f"{folder} is no Boreas sequence: it has neither applanix/ nor calib/; fetch both folders of the "
        "sequence besides camera/ and lidar/"
    )
