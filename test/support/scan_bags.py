"""Bags of a robot with a small camera, a LiDAR in its base frame and, as asked, odometry."""

import numpy as np
from scanned_streets import scans

from vpr_ros.sensors import BagWriter, compressed_image_msg, odometry_msg
from vpr_ros.sensors.bags.messages import cloud_msg

START_NS = 1_700_000_000_000_000_000
STEP_NS = 250_000_000


def write_scan_bag(path, world, poses, odometry, seed, start_ns=START_NS):
    """A picture and a cloud of points `world` (N, 3) at each of poses (N, 4, 4), with odometry (N, 4, 4) or None."""
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    clouds = None if world is None else scans(world, poses, seed)
    with BagWriter(path) as bag:
        for n in range(len(poses)):
            stamp = start_ns + n * STEP_NS
            bag.write("/camera/image/compressed", compressed_image_msg(image, stamp), stamp)
            if clouds is not None:
                bag.write("/points", cloud_msg(clouds[n], stamp, "base_link"), stamp)
            if odometry is not None:
                bag.write("/odom", odometry_msg(odometry[n], stamp), stamp)
    return path
