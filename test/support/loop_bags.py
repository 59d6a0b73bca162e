"""A bag of a robot that drives laps: pictures, clouds, odometry that drifts, and the truth."""

import numpy as np
from loop_graphs import laps
from scanned_streets import box_street, scans
from street import drive_images

from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import BagWriter, compressed_image_msg, odometry_msg, pose_msg
from vpr_ros.sensors.bags.messages import cloud_msg

START_NS, STEP_NS, STEP_M = 1_700_000_000_000_000_000, 1_000_000_000, 4.0
LAP = 50  # frames


def write_loop_bag(path, frames=110, odometry=True, truth=True, clouds=True):
    """Two laps and a bit; returns the true poses (N, 4, 4) and odometry (N, 4, 4)."""
    true, drifting = (T[:frames] for T in laps(3, STEP_M))
    pictures = [drive_images(1, LAP, noise_seed=lap) for lap in range(3)]
    world = box_street(np.array([(0, 0), (60, 0), (60, 40), (0, 40), (0, 0)]), 1)
    seen = scans(world, true, 1) if clouds else None
    with BagWriter(path) as bag:
        for n in range(frames):
            stamp = START_NS + n * STEP_NS
            bag.write("/camera/image/compressed", compressed_image_msg(pictures[n // LAP][n % LAP], stamp), stamp)
            if seen is not None:
                bag.write("/points", cloud_msg(seen[n], stamp, "base_link"), stamp)
            if odometry:
                bag.write("/odom", odometry_msg(drifting[n], stamp), stamp)
            if truth:  # the frame of the truth is not the odometry's
                bag.write("/ground_truth/pose", pose_msg(planar_transform(500.0, 40.0, 1.0) @ true[n], stamp), stamp)
    return true, drifting
