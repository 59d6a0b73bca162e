"""The layout of a training set on disk: `meta.json`, `frames.csv`, JPEG images and fp16 `.npy` clouds.

Bags, public data sets and synthetic drives are all converted to this form, so that training needs neither
rosbags nor a renderer. Paths in the table are relative to the folder, and `cloud` may be empty. Cities are far from one
another. Poses in the map frame share one frame per city; those by odometry have one per drive, and `meta.json` says
which drives have them; x, y and heading of a frame without a pose are empty. What is known across frames lies in
`pairs.csv` and `examined.csv` (`pairs.py`).
"""

import io

import numpy as np

from vpr_ros.geometry import yaw_of

FORMAT, VERSION = "vpr_ros training set", 1
RECORDED = "recorded"  # the kind of a set to which drives may be appended
META, TABLE, ORIGINS = "meta.json", "frames.csv", "gnss_origins.json"
PAIRS, EXAMINED = "pairs.csv", "examined.csv"
COLUMNS = ("frame", "drive", "city", "x_m", "y_m", "heading_rad", "condition", "stamp_ns", "image", "cloud")


def table_row(
    frame: int,
    drive: str,
    city: str | int,
    T: np.ndarray | None,
    condition: str,
    stamp_ns: int,
    image: str,
    cloud: str = "",
) -> list[str | int]:
    """The row of `frames.csv` for a frame seen from the pose T (4, 4): millimetres, and 1e-5 rad; empty without one."""
    x = y = heading = ""
    if T is not None:
        x, y, heading = f"{T[0, 3]:.3f}", f"{T[1, 3]:.3f}", f"{float(yaw_of(T)):.5f}"
    return [frame, drive, city, x, y, heading, condition, stamp_ns, image, cloud]


def encode_cloud(cloud: np.ndarray) -> bytes:
    """An `.npy` file's bytes of points (N, 3) in metres as fp16; points that are not finite are left out."""
    with np.errstate(over="ignore"):
        points = np.asarray(cloud).reshape(-1, 3).astype(np.float16)
    stream = io.BytesIO()
    np.save(stream, points[np.isfinite(points).all(axis=1)])
    return stream.getvalue()
