"""Time to render a synthetic drive with LiDAR into a bag: 320x240 pixels and a 16-beam scan a frame, two processes.

python benchmarks/rendering.py
"""

import tempfile
import time
from pathlib import Path

from vpr_ros.training.synthetic import CameraConfig, LidarConfig, named_conditions, plan_drive, write_drive_bag

FRAMES, SPACING_M, TEST_CITY = 400, 3.0, 2100


def main() -> None:
    drive = plan_drive(
        TEST_CITY,
        named_conditions("dusk", seed=3),
        CameraConfig(320, 240),
        LidarConfig(),
        length_m=FRAMES * SPACING_M,
        spacing_m=SPACING_M,
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write_drive_bag(Path(folder) / "drive", drive, workers=2)
        print(f"{len(drive)} frames with clouds to mcap: {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
