"""Drives recorded into a training set: frame by frame on disk, resumable, and readable at any moment.

The set is the one that `read_frame_table` reads, of kind "recorded": `meta.json`, `frames.csv`, JPEG images and fp16
`.npy` clouds in the base frame. Nothing here imports torch: a robot records without it.
"""

import csv
import fcntl
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import yaw_of
from vpr_ros.sensors.cameras import Camera

FORMAT, VERSION, KIND = "vpr_ros training set", 1, "recorded"
COLUMNS = ("frame", "drive", "city", "x_m", "y_m", "heading_rad", "condition", "stamp_ns", "image", "cloud")


class TrainingSetWriter:
    """Appends one drive to a training set folder, which is made if it is missing.

    A row is written after its files, so a `kill -9` loses at most the frame in work; the next opening drops a torn
    last row, and rows whose files a power cut took. A name that the set already has gets a number: drives are never
    mixed. Raises VprError, one sentence each, for a folder of another kind, one in use, and a disk that is full or
    read-only.

    Poses of one city share one frame: `poses` tells whether this drive's are in the map frame ("map") or in the
    drive's own ("odometry"). A drive of the second kind is refused where the city has others.
    """

    def __init__(
        self,
        folder,
        drive: str,
        city: str = "own",
        condition: str = "",
        jpeg_quality: int = 90,
        max_width: int = 640,
        source: str = "",
    ):
        self.folder, self._quality, self._max_width = Path(folder).expanduser(), jpeg_quality, max_width
        self.count = 0  # frames of this drive
        self._table: Any = None
        try:
            self._open()
            names = {entry["name"] for entry in self._meta["drives"]}
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
        self._entry = {
            "name": self.drive,
            "city": _one_line(city) or "own",
            "condition": _one_line(condition),
            "poses": None,
            "camera": None,
            "source": source,
        }
        self._listed = False

    def add(
        self, stamp_ns: int, image: np.ndarray, T: np.ndarray, cloud: np.ndarray | None = None, poses: str = "map"
    ) -> int:
        """Write a frame and return its number in the drive.

        image (H, W, 3) uint8 RGB; T (4, 4) the base's pose; cloud (N, 3) in the base frame in metres; `poses`: what
        T is a pose in, "map" or "odometry", the same for a whole drive. After a VprError the set is as before.
        """
        self._accept(poses)
        number = self.count
        written: list[Path] = []
        try:
            name = f"images/{self._name}/{number:06d}.jpg"
            self._write(name, _jpeg(image, self._max_width, self._quality), written)
            cloud_name = ""
            if cloud is not None:
                cloud_name = f"clouds/{self._name}/{number:06d}.npy"
                self._write(cloud_name, _npy(cloud), written)
            self._append(
                [
                    number,
                    self._entry["name"],
                    self._entry["city"],
                    f"{T[0, 3]:.3f}",
                    f"{T[1, 3]:.3f}",
                    f"{float(yaw_of(T)):.5f}",
                    self._entry["condition"],
                    int(stamp_ns),
                    name,
                    cloud_name,
                ]
            )
        except OSError as error:
            for path in written:
                path.unlink(missing_ok=True)
            raise self._unwritable(error) from None
        self.count += 1
        return number

    def set_camera(self, camera: Camera) -> None:
        """Note the drive's camera in meta.json: intrinsics of the images as they came, before any shrinking."""
        told = {
            "K": np.asarray(camera.K).tolist(),
            "width": camera.width,
            "height": camera.height,
            "distortion": np.asarray(camera.distortion).tolist(),
            "model": camera.model,
        }
        if told != self._entry["camera"]:
            self._entry["camera"] = told
            if self._listed:
                self._write_meta()

    def close(self) -> None:
        """Flush to the disk and release the folder; a drive without frames leaves nothing behind."""
        if self._table is None:
            return
        try:
            os.fsync(self._table)
            for kind in ("images", "clouds") if self.count == 0 else ():
                if (self.folder / kind / self._name).is_dir():
                    (self.folder / kind / self._name).rmdir()
            if self.count == 0 and self._listed:
                self._meta["drives"].remove(self._entry)
                self._write_meta()
        except OSError as error:
            raise self._unwritable(error) from None
        finally:
            self._release()

    def __enter__(self) -> "TrainingSetWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        table, meta = self.folder / "frames.csv", self.folder / "meta.json"
        begun = {"frames.csv", "meta.json.partial"}  # what a kill in the first moments leaves
        if not meta.exists() and {p.name for p in self.folder.iterdir()} - begun:
            raise VprError(f"{self.folder} holds other files and no training set; name a new or empty folder")
        self._meta = (
            _read_meta(meta) if meta.exists() else {"format": FORMAT, "version": VERSION, "kind": KIND, "drives": []}
        )
        self._table = os.open(table, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._table, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VprError(f"{self.folder} is being recorded by another program; name another folder") from None
        self._length = _whole_rows(table)
        os.ftruncate(self._table, self._length)
        if not self._length:
            self._append(COLUMNS)
        if not meta.exists():
            self._write_meta()

    def _accept(self, poses: str) -> None:
        if self._table is None:
            raise VprError(f"training set {self.folder} is closed")
        if self._listed:
            if poses != self._entry["poses"]:
                raise VprError(f"drive {self.drive} began with poses of {self._entry['poses']}, not of {poses}")
            return
        others = [e for e in self._meta["drives"] if e["city"] == self._entry["city"]]
        alone = next((e["name"] for e in others if "odometry" in (poses, e["poses"])), None)
        if alone is not None:
            raise VprError(
                f"drive {self.drive} and drive {alone} of city '{self._entry['city']}' share no frame, as odometry "
                "begins anew with every drive; record with poses in the map frame (pose_source), or name another city"
            )
        self._entry["poses"], self._listed = poses, True
        self._meta["drives"].append(self._entry)
        try:
            self._write_meta()
        except VprError:
            self._meta["drives"].remove(self._entry)
            self._listed = False
            raise

    def _write(self, name: str, data: bytes, written: list[Path]) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        written.append(path)
        path.write_bytes(data)

    def _append(self, row) -> None:
        text = io.StringIO()
        csv.writer(text).writerow(row)
        data = text.getvalue().encode()
        try:
            if os.write(self._table, data) < len(data):
                raise OSError(28, "No space left on device")
        except OSError:
            os.ftruncate(self._table, self._length)  # no part of a row stays
            raise
        self._length += len(data)

    def _write_meta(self) -> None:
        partial = self.folder / "meta.json.partial"
        try:
            with open(partial, "w", encoding="utf-8") as stream:
                json.dump(self._meta, stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, self.folder / "meta.json")
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise self._unwritable(error) from None

    def _release(self) -> None:
        if self._table is not None:
            os.close(self._table)  # and with it the lock
        self._table = None

    def _unwritable(self, error: OSError) -> VprError:
        return VprError(
            f"training set {self.folder} cannot be written ({error.strerror}); check space and rights, or "
            "name another folder"
        )


def _read_meta(path: Path) -> dict:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        recorded = meta["format"] == FORMAT and meta["kind"] == KIND
        if recorded and meta["version"] == VERSION and isinstance(meta["drives"], list):
            return meta
    except (ValueError, KeyError, TypeError):
        recorded = False
    if recorded:
        raise VprError(f"{path.parent} was recorded by another version of this package; name another folder")
    raise VprError(
        f"{path.parent} holds a set that was not recorded, and drives are not mixed into it; name another folder"
    )


def _whole_rows(table: Path) -> int:
    """Bytes of the table up to its last row that is whole and whose files are there."""
    lines = table.read_bytes().split(b"\n")[:-1]  # what follows the last line's end is torn
    while lines:
        row = next(csv.reader([lines[-1].decode("utf-8", "replace")]), [])
        if tuple(row) == COLUMNS or _is_whole(row, table.parent):
            break
        lines.pop()
    return sum(len(line) + 1 for line in lines)


def _is_whole(row: list[str], folder: Path) -> bool:
    files = [folder / name for name in row[-2:] if name]
    return len(row) == len(COLUMNS) and all(path.is_file() and path.stat().st_size > 0 for path in files)


def _numbered(name: str, taken) -> str:
    """The name, or with -2, -3, ... behind it the first that is not taken."""
    number, candidate = 1, name
    while taken(candidate):
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def _jpeg(image: np.ndarray, max_width: int, quality: int) -> bytes:
    height, width = image.shape[:2]
    if width > max_width:
        size = (max_width, max(1, round(height * max_width / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise VprError("an image cannot be written as JPEG")
    return data.tobytes()


def _npy(cloud: np.ndarray) -> bytes:
    with np.errstate(over="ignore"):
        points = np.asarray(cloud).reshape(-1, 3).astype(np.float16)
    stream = io.BytesIO()
    np.save(stream, points[np.isfinite(points).all(axis=1)])
    return stream.getvalue()
