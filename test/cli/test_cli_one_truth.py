"""What the doctor says of a map's poses is what the map then has."""

import pytest

from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import BagWriter, compressed_image_msg, odometry_msg, pose_msg


@pytest.mark.parametrize(
    "source,said,told",
    [
        ("odometry", "a new map takes this bag's odometry for its frame", "8 with a pose in frame 'map' (the odometry"),
        ("nothing", "has no metric positions", "8, 0 with a pose in frame 'map'"),
        ("truth", "has no metric positions", "8, 0 with a pose in frame 'map'"),
        ("pose", "8 poses on /slam/pose cover 100% of the images", "8, 8 with a pose in frame 'map'"),
    ],
)
def test_doctor_and_info_agree(vpr, street, checkpoint, tmp_path, source, said, told):
    with BagWriter(tmp_path / "bag") as bag:
        for i, image in enumerate(street.drive_images(1, 8)):
            stamp = street.START_NS + i * street.SECOND_NS // 2
            pose = planar_transform(10.0 * i, 0, 0)
            bag.write("/camera", compressed_image_msg(image, stamp), stamp)
            if source == "odometry":
                bag.write("/odom", odometry_msg(pose, stamp), stamp)
            if source in ("truth", "pose"):
                bag.write("/ground_truth/pose" if source == "truth" else "/slam/pose", pose_msg(pose, stamp), stamp)
    assert said in vpr("doctor", tmp_path / "bag").stdout
    out = tmp_path / "map.vpr"
    assert vpr("map", tmp_path / "bag", "-o", out, "-c", checkpoint, "--keyframe-every", "1").exit_code == 0
    shown = " ".join(vpr("info", out).stdout.split())
    assert told in shown and ("the odometry of session 1" in shown) == (source == "odometry"), shown
