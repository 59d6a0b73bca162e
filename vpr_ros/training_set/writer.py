"""Drives recorded into a training set: frame by frame on disk, resumable, and readable at any moment.

The set is the one that `read_frame_table` reads, of kind "recorded". Nothing here imports torch: a robot records
without it.
"""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.pictures import encode
from vpr_ros.sensors.cameras import Camera
from vpr_ros.training_set.format import encode_cloud, table_row
from vpr_ros.training_set.meta import DriveEntry, PoseKind, RecordedMeta
from vpr_ros.training_set.table import RowTable


class TrainingSetWriter:
    """Appends one drive to a training set folder, which is made if it is missing.

    A row is written after its files, so `kill -9` loses at most the frame being written; the next opening drops a torn
    last row, and rows whose files were lost in a power cut. A name that the set already has gets a number: drives are
    never mixed. Raises VprError, one sentence each, for a folder of another kind, one in use, and a disk that is full
    or read-only.

    Poses in the map frame share one frame per city; those by odometry begin anew with every drive.
    """

    def __init__(
        self,
        folder: str | Path,
        drive: str,
        city: str = "own",
        condition: str = "",
        jpeg_quality: int = 90,
        max_width: int = 640,
        source: str = "",
    ):
        self.folder, self._quality, self._max_width = Path(folder).expanduser(), jpeg_quality, max_width
        self.count = 0  # frames of this drive
        self._table: RowTable | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._meta = RecordedMeta(self.folder, self._unwritable)
            self._table = RowTable(self.folder)
            if not self._meta.exists:
                self._meta.write()
            names = {entry["name"] for entry in self._meta.drives}
            self.drive = _numbered(_one_line(drive) or "drive", lambda name: name in names)
            # Names that differ in their special characters only must not share a folder.
            self._name = _numbered(
                re.sub(r"[^\w.-]+", "_", self.drive).lstrip(".") or "drive",
                lambda name: (self.folder / "images" / name).exists(),
            )
            (self.folder / "images" / self._name).mkdir(parents=True)
        except OSError as error:
            self._release()
            raise self._unwritable(error) from None
        except VprError:
            self._release()
            raise
        self._entry: DriveEntry = {
            "name": self.drive,
            "city": _one_line(city) or "own",
            "condition": _one_line(condition),
            "poses": None,
            "camera": None,
            "source": source,
        }
        self._listed = False  # whether the drive is listed in meta.json, from its first frame on

    def add(
        self,
        stamp_ns: int,
        image: np.ndarray,
        T: np.ndarray | None,
        cloud: np.ndarray | None = None,
        poses: PoseKind = "map",
    ) -> int:
        """Write a frame and return its number in the drive.

        image (H, W, 3) uint8 RGB; T (4, 4) the base's pose, None where it is not known; cloud (N, 3) in the base frame
        in metres; `poses`: what T is a pose in, "map" or "odometry", or "none", the same for a whole drive. After a
        VprError the set is unchanged.
        """
        if self._table is None:
            raise VprError(f"training set {self.folder} is closed")
        self._list_drive(poses)
        entry, number = self._entry, self.count
        written: list[Path] = []
        try:
            name = f"images/{self._name}/{number:06d}.jpg"
            self._write(name, encode(_shrunk(image, self._max_width), quality=self._quality), written)
            cloud_name = ""
            if cloud is not None:
                cloud_name = f"clouds/{self._name}/{number:06d}.npy"
                self._write(cloud_name, encode_cloud(cloud), written)
            self._table.append(
                table_row(number, entry["name"], entry["city"], T, entry["condition"], int(stamp_ns), name, cloud_name)
            )
        except OSError as error:
            for path in written:
                path.unlink(missing_ok=True)
            raise self._unwritable(error) from None
        self.count += 1
        return number

    def set_camera(self, camera: Camera) -> None:
        """Record the drive's camera in meta.json: intrinsics of the images as they came, before any shrinking."""
        intrinsics = {
            "K": np.asarray(camera.K).tolist(),
            "width": camera.width,
            "height": camera.height,
            "distortion": np.asarray(camera.distortion).tolist(),
            "model": camera.model,
        }
        if intrinsics != self._entry["camera"]:
            self._entry["camera"] = intrinsics
            if self._listed:
                self._meta.write()

    def close(self) -> None:
        """Flush to the disk and release the folder; a drive without frames leaves nothing behind."""
        if self._table is None:
            return
        try:
            self._table.sync()
            for kind in ("images", "clouds") if self.count == 0 else ():
                if (self.folder / kind / self._name).is_dir():
                    (self.folder / kind / self._name).rmdir()
            if self.count == 0 and self._listed:
                self._meta.remove(self._entry)
        except OSError as error:
            raise self._unwritable(error) from None
        finally:
            self._release()

    def __enter__(self) -> "TrainingSetWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _list_drive(self, poses: PoseKind) -> None:
        if self._listed:
            if poses != self._entry["poses"]:
                raise VprError(f"drive {self.drive} began with poses of {self._entry['poses']}, not of {poses}")
            return
        self._entry["poses"] = poses
        self._meta.append(self._entry)
        self._listed = True

    def _write(self, name: str, data: bytes, written: list[Path]) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        written.append(path)
        path.write_bytes(data)

    def _release(self) -> None:
        if self._table is not None:
            self._table.close()
        self._table = None

    def _unwritable(self, error: OSError) -> VprError:
        return VprError(
            f"training set {self.folder} cannot be written ({error.strerror}); check space and rights, or "
            "name another folder"
        )


def _numbered(name: str, taken: Callable[[str], bool]) -> str:
    """The name, or with -2, -3, ... behind it the first that is not taken."""
    number, candidate = 1, name
    while taken(candidate):
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def _shrunk(image: np.ndarray, max_width: int) -> np.ndarray:
    """The image, scaled down where it is wider than `max_width` pixels."""
    height, width = image.shape[:2]
    if width <= max_width:
        return image
    size = (max_width, max(1, round(height * max_width / width)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
