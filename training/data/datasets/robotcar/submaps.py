"""A raw RobotCar traversal as a run of the PointNetVLAD benchmark: submaps, their table, and MinkLoc++'s pictures."""

import csv
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.atomic import whole_text, write_whole
from vpr_ros.errors import FrameError, VprError
from vpr_ros.pictures import encode
from vpr_ros.sensors.stamps import nearest
from vpr_ros.training.data.datasets.pointnetvlad.samples import INDEX_NAME, LAYOUT, Part, read_index
from vpr_ros.training.data.datasets.pointnetvlad.submaps import SubmapConfig, make_submap, submap_windows
from vpr_ros.training.data.datasets.robotcar.models import MAP_ORIGIN
from vpr_ros.training.data.datasets.robotcar.readings import US
from vpr_ros.training.data.datasets.robotcar.samples import ScanTrack
from vpr_ros.training.data.datasets.robotcar.traversal import Traversal

_FRD = np.array([1.0, -1.0, -1.0])  # the base's axes forward, left, up as forward, right, down, and back
EVERY_M = {"train": 10.0, "test": 20.0}
NEAREST = 20  # pictures per submap in the index
SHRINK = 4  # pictures are a quarter as wide and high


def write_submaps(
    traversal: Traversal,
    root: str | Path,
    part: Part = "train",
    lidar: str = "lms_front",
    poses: str = "ins",
    config: SubmapConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write `<root>/oxford/<run>/pointcloud_20m_10overlap/<t>.bin` ("train") or `pointcloud_20m/` ("test") and the
    table beside it; returns how many submaps. The table is written last: a run with it is complete.

    t is the stamp (microseconds) of the scan in the middle of the travel, whose base frame orients the cloud; the
    table holds the centroid's northing and easting. (The publication leaves both open.) Submaps of bare ground are
    left out. Raises VprError where the traversal is unusable or the folder cannot be written.
    """
    if part not in EVERY_M:
        raise VprError(f"submaps are made for 'train' or 'test', not for '{part}'")
    config = replace(config or SubmapConfig(), every_m=EVERY_M[part])
    track = ScanTrack.of(traversal, lidar, traversal.poses(poses), config)
    ranges = submap_windows(track.T_map_base, config)
    if not ranges:
        raise VprError(f"{traversal.folder}: the scans of {lidar} cover less than one submap of {config.length_m:g} m")
    clouds, name = LAYOUT["oxford", part]
    folder = Path(root) / "oxford" / traversal.name
    rows = []

    def unwritable(error: OSError) -> VprError:
        return VprError(f"submaps cannot be written to {folder} ({error.strerror}); check space and rights")

    try:
        (folder / clouds).mkdir(parents=True, exist_ok=True)
        for done, (start, stop) in enumerate(ranges, 1):
            middle = (start + stop) // 2
            stamp, T = int(track.stamps_ns[middle]) // US, track.T_map_base[middle]
            try:
                submap = make_submap(track.points(start, stop, T) * _FRD, stamp, config)
            except FrameError:
                continue
            east, north, _ = T[:3, :3] @ (submap.centroid * _FRD) + T[:3, 3]
            (folder / clouds / f"{stamp}.bin").write_bytes(submap.points.astype("<f8").tobytes())
            rows.append([stamp, f"{MAP_ORIGIN[0] + north:.6f}", f"{MAP_ORIGIN[1] + east:.6f}"])
            if progress:
                progress(done, len(ranges))
        with whole_text(folder / name, explain=unwritable) as stream:
            csv.writer(stream).writerows([["timestamp", "northing", "easting"], *rows])
    except OSError as error:
        raise unwritable(error) from None
    return len(rows)


def write_pictures(
    traversal: Traversal,
    submap_stamps_us: Sequence[int] | np.ndarray,
    images: str | Path,
    camera: str = "stereo/centre",
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write `<images>/<run>/<t>.png` for the 20 pictures nearest in time to each submap and add them to the index
    `<images>/lidar2image_ndx.pickle`; returns how many pictures the run has there.

    Pictures are demosaiced, not undistorted, and a quarter as wide and high (METHODS §4.3). Existing ones stay; torn
    ones of the traversal are left out of the index. VprError where a submap is left without any.
    """
    images, submaps, stamps = Path(images), np.asarray(submap_stamps_us, np.int64), traversal.stamps_ns(camera) // US
    near = stamps[nearest(submaps, stamps, NEAREST)]
    wanted, there = np.unique(near), set()
    folder, index_path = images / traversal.name, images / INDEX_NAME

    def unwritable(error: OSError) -> VprError:
        return VprError(f"pictures cannot be written to {images} ({error.strerror}); check space and rights")

    def write_picture(stamp_us: int) -> bool:
        try:
            rgb = traversal.image(camera, stamp_us * US)
        except FrameError:
            return False
        small = cv2.resize(rgb, (rgb.shape[1] // SHRINK, rgb.shape[0] // SHRINK), interpolation=cv2.INTER_AREA)
        write_whole(folder / f"{stamp_us}.png", encode(small, "png"), durable=False, explain=unwritable)
        return True

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for done, stamp in enumerate(wanted.tolist(), 1):
            if (folder / f"{stamp}.png").is_file() or write_picture(stamp):
                there.add(stamp)
            if progress:
                progress(done, len(wanted))
        index = read_index(index_path) if index_path.is_file() else {}
        for submap, row in zip(submaps.tolist(), near.tolist(), strict=True):
            index[submap] = [stamp for stamp in row if stamp in there]
            if not index[submap]:
                raise VprError(f"{traversal.folder}: no picture of {camera} around submap {submap} can be read")
        write_whole(index_path, pickle.dumps(index, protocol=2), explain=unwritable)
    except OSError as error:
        raise unwritable(error) from None
    return len(there)
