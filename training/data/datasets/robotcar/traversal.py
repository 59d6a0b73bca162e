"""One traversal of the raw Oxford RobotCar data set, in the layout of the development kit (FORMATS §2.1).

YYYY-MM-DD-HH-MM-SS/
  stereo.timestamps  lms_front.timestamps  mono_left.timestamps  velodyne_left.timestamps  ...
  stereo/{left,centre,right}/<t>.png   mono_left/<t>.png   lms_front/<t>.bin   velodyne_left/<t>.{bin,png}
  gps/ins.csv
  rtk.csv      (the RTK ground truth of this traversal; also found as ../rtk/<name>/rtk.csv or gps/rtk.csv)
  models/      (the kit's camera models; also found one or two folders above)
"""

import re
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors.poses.trajectory import Trajectory
from vpr_ros.training.data.datasets.robotcar.models import (
    CAMERAS,
    LIDARS,
    CameraModel,
    default_model,
    demosaic,
    load_model,
    model_files,
)
from vpr_ros.training.data.datasets.robotcar.readings import US, Readings, find_readings, read_poses, read_scan

TRAVERSAL = re.compile(r"\d{4}(-\d\d){5}")


class Traversal:
    """A traversal's folder: what was recorded when, and the readings themselves on demand.

    Raises VprError where the folder is not a traversal. Stamps are in nanoseconds outside, microseconds in the file
    names.
    """

    def __init__(self, folder, models=None, rtk=None):
        self.folder = Path(folder)
        self._models = None if models is None else Path(models)
        self._rtk = None if rtk is None else Path(rtk)
        self._readings: dict[str, Readings] = {}
        _check_layout(self.folder)
        self.name = self.folder.resolve().name

    def readings(self, sensor: str) -> Readings:
        """The readings of a sensor whose files exist; VprError as `find_readings`."""
        if sensor not in (*CAMERAS, *LIDARS):
            raise VprError(f"RobotCar has no sensor '{sensor}'; choose {', '.join((*CAMERAS, *LIDARS))}")
        if sensor not in self._readings:
            self._readings[sensor] = find_readings(self.folder, sensor)
        return self._readings[sensor]

    def stamps_ns(self, sensor: str) -> np.ndarray:
        """Stamps (N,) int64 of a sensor's readings in nanoseconds."""
        return self.readings(sensor).stamps_us * US

    def has(self, sensor: str) -> bool:
        """Whether the traversal's folder has readings of a sensor at all."""
        return (self.folder / sensor).is_dir()

    @cached_property
    def _ins(self) -> tuple[Trajectory, np.ndarray]:
        return read_poses(self.folder / "gps" / "ins.csv")

    @property
    def ins(self) -> Trajectory:
        """Poses T_map_base of the inertial navigation system, `gps/ins.csv`."""
        return self._ins[0]

    @property
    def ins_velocity_mps(self) -> np.ndarray:
        """Velocities (N, 3) east, north, up at the stamps of `ins`."""
        return self._ins[1]

    @property
    def rtk_path(self) -> Path | None:
        """Path of the RTK ground truth, None where there is none. VprError where a named file is missing."""
        if self._rtk is not None:
            if not self._rtk.is_file():
                raise VprError(f"{self._rtk} is missing: the RTK ground truth of {self.name} was expected there")
            return self._rtk
        folders = self.folder, self.folder / "gps", self.folder.parent / "rtk" / self.name
        places = [folder / "rtk.csv" for folder in folders]
        return next((p for p in places if p.is_file()), None)

    @cached_property
    def rtk(self) -> Trajectory | None:
        """Poses T_map_base of the RTK ground truth, None where there is none."""
        path = self.rtk_path
        return None if path is None else read_poses(path)[0]

    def poses(self, source: str) -> Trajectory:
        """Poses by source: "ins" or "rtk"."""
        if source not in ("ins", "rtk"):
            raise VprError(f"poses come from 'ins' or 'rtk', not from '{source}'")
        trajectory = self.ins if source == "ins" else self.rtk
        if trajectory is None:
            raise VprError(
                f"{self.folder} has no RTK ground truth: rtk.csv was expected in it or at "
                f"{self.folder.parent}/rtk/{self.name}/rtk.csv; fetch it, or take the poses of 'ins'"
            )
        return trajectory

    def camera(self, camera: str, undistort: bool = True) -> CameraModel:
        """Model of a camera: from models/ with its undistortion table, or the published numbers without one."""
        published = default_model(camera)
        if not undistort:
            return published
        size = self._image_size(camera)
        folder = self._models_folder().resolve()
        changed = tuple(p.stat().st_mtime_ns if p.is_file() else 0 for p in model_files(camera, folder))
        return _model(camera, folder, size, changed)

    def _image_size(self, camera: str) -> tuple[int, int]:
        """Height and width of the camera's pictures, from the first that can be read."""
        readings, error = self.readings(camera), None
        for stamp in readings.stamps_us[:5]:
            try:
                height, width = _read_bayer(readings.path(int(stamp))).shape
                return height, width
            except FrameError as wrong:
                error = error or wrong
        raise VprError(f"no picture of {camera} can be read to begin with: {error}")

    def image(self, camera: str, stamp_ns: int, model: CameraModel | None = None) -> np.ndarray:
        """Picture (H, W, 3) uint8 RGB at a stamp, demosaiced, and undistorted where `model` has a table.

        Raises FrameError for a picture that is missing, torn or not a Bayer image.
        """
        bayer = _read_bayer(self.readings(camera).path(int(stamp_ns) // US))
        rgb = demosaic(bayer, camera)
        return rgb if model is None or model.lut is None else model.undistort(rgb)

    def scan(self, sensor: str, stamp_ns: int) -> np.ndarray:
        """Points (N, 4) float32 x, y, z, intensity of a scan in the sensor's frame; FrameError as `read_scan`."""
        return read_scan(self.readings(sensor).path(int(stamp_ns) // US), sensor)

    def _models_folder(self) -> Path:
        if self._models is not None:
            return self._models
        here = self.folder.resolve()
        places = [p / "models" for p in (here, here.parent, here.parent.parent)]
        return next((p for p in places if p.is_dir()), places[0])


def _check_layout(folder: Path) -> None:
    """VprError unless the folder looks like one traversal."""
    if not folder.is_dir():
        raise VprError(f"{folder} is not a folder; give a RobotCar traversal YYYY-MM-DD-HH-MM-SS")
    if any(folder.glob("*.timestamps")) or (folder / "gps").is_dir():
        return
    inside = sorted(p.name for p in folder.iterdir() if p.is_dir() and TRAVERSAL.fullmatch(p.name))
    if inside:
        raise VprError(f"{folder} holds {len(inside)} traversals; give one of them, e.g. {folder / inside[0]}")
    if (folder / "applanix").is_dir():
        raise VprError(f"{folder} is a Boreas sequence, not a RobotCar traversal; use `vpr_ros convert boreas`")
    raise VprError(
        f"{folder} is no RobotCar traversal: it has neither *.timestamps nor gps/; unpack the archives of "
        "one traversal into a folder YYYY-MM-DD-HH-MM-SS"
    )


@lru_cache(maxsize=4)
def _model(camera: str, folder: Path, size: tuple[int, int], _changed_ns: tuple[int, ...]) -> CameraModel:
    return load_model(camera, folder, size)  # shared by all traversals: a table takes 10 MB


def _read_bayer(path: Path) -> np.ndarray:
    image = pictures.load(path, "stored")
    if image.ndim != 2 or image.dtype != np.uint8:
        raise FrameError(
            f"picture {path} is no 8-bit Bayer image (one channel) but has shape {image.shape} and type "
            f"{image.dtype}; RobotCar's raw pictures are needed, not demosaiced ones"
        )
    return image
