from dataclasses import replace

import numpy as np
import pytest
from scanned_streets import box_street, drifting, drive_on, scans

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, planar_transform, yaw_of
from vpr_ros.offline.crossing import CrossingConfig, ScannedDrive, find_crossing
from vpr_ros.verification import VerificationConfig

pytest.importorskip("small_gicp")

LINE = np.array([(0, 0), (70, 0), (70, 90)])
CONFIG = CrossingConfig(
    every=5,
    candidates=2,
    sequence_m=10.0,
    registration=VerificationConfig(normal_points=20, min_agreement=0.05, kiss_matcher=False, turns=1, steps_m=(0.0,)),
)


def scanned(world, poses, seed, odometry=True):
    stamps = np.arange(len(poses)) * 250_000_000
    return ScannedDrive(scans(world, poses, seed), stamps, drifting(poses, seed) if odometry else None)


def errors(found, first, second):
    """Metres and radians between the constraints and the truth."""
    i, j = (np.array([getattr(c, side) for c in found.constraints]) for side in ("first", "second"))
    truth = invert(first[i]) @ second[j]
    error = invert(truth) @ np.array([c.T_first_second for c in found.constraints])
    return np.linalg.norm(error[:, :3, 3], axis=1), np.abs(yaw_of(error))


@pytest.mark.parametrize(
    ("from_m", "to_m", "odometry"),
    [(40.0, 110.0, True), (90.0, 20.0, True), (40.0, 100.0, False)],
    ids=["same way", "other way", "no odometry"],
)
def test_every_frame_of_the_common_stretch_finds_its_place(from_m, to_m, odometry):
    world = box_street(LINE, 1)
    first, second = drive_on(LINE, 0, 90), drive_on(LINE, from_m, to_m, beside_m=0.7)
    found = find_crossing(scanned(world, first, 1), scanned(world, second, 2, odometry), CONFIG)
    metres, radians = errors(found, first, second)
    apart_m = np.linalg.norm(second[:, None, :3, 3] - first[None, :, :3, 3], axis=2).min(axis=1)
    rows = {c.second for c in found.constraints}
    assert metres.max() < 0.3 and radians.max() < 0.02
    assert len(rows & set(np.flatnonzero(apart_m < 2))) > 0.9 * (apart_m < 2).sum()
    assert found.nominated >= found.registered >= 5
    for c in found.constraints:
        assert 0.5 <= c.confidence <= 1 and 0 < c.similarity <= 1 and 0.3 < c.agreement <= 1 and c.support >= 3
        assert c.covariance.shape == (6, 6) and (np.linalg.eigvalsh(c.covariance) > 0).all()


def test_other_streets_have_nothing_in_common():
    first, second = drive_on(LINE, 0, 80), drive_on(LINE, 0, 80)
    found = find_crossing(scanned(box_street(LINE, 1), first, 1), scanned(box_street(LINE, 2), second, 2), CONFIG)
    assert found.constraints == () and found.nominated > 5


def test_equal_houses_do_not_confirm_one_another():
    """Each registration agrees with some house of the other end of the street: nothing says which it is."""
    line = np.array([(0, 0), (300, 0)])
    world = box_street(line, 0, equal=True)
    drives = scanned(world, drive_on(line, 40, 110), 1), scanned(world, drive_on(line, 160, 230), 2)
    found = find_crossing(*drives, CONFIG)
    assert found.constraints == () and found.registered > 10


def test_a_jump_of_odometry_is_no_motion():
    world = box_street(LINE, 1)
    first, second = drive_on(LINE, 0, 90), drive_on(LINE, 0, 90)
    odometry = drifting(second, 2)
    odometry[22:] = planar_transform(900, -40, 2.0) @ odometry[22:]
    jumping = replace(scanned(world, second, 2), T_odom_base=odometry)
    found = find_crossing(scanned(world, first, 1), jumping, CONFIG)
    metres, _ = errors(found, first, second)
    assert metres.max() < 0.3
    assert {c.second > 22 for c in found.constraints} == {False, True}


def test_what_does_not_go_together_is_named():
    with pytest.raises(VprError, match="monday: 2 clouds do not go with 3 stamps"):
        ScannedDrive([np.zeros((0, 3))] * 2, np.arange(3), name="monday")
    with pytest.raises(VprError, match="odometry of shape"):
        ScannedDrive([np.zeros((0, 3))] * 2, np.arange(2), np.zeros((3, 4, 4)))
    with pytest.raises(VprError, match="do not increase"):
        ScannedDrive([np.zeros((0, 3))] * 2, np.array([1, 1]))
    with pytest.raises(VprError, match="must be positive"):
        CrossingConfig(spacing_m=0.0)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_drives_of_hardly_anything_have_nothing_in_common(count):
    world = box_street(LINE, 1)
    poses = drive_on(LINE, 0, 40)
    few = ScannedDrive([np.zeros((0, 3))] * count, np.arange(count), np.tile(np.eye(4), (count, 1, 1)))
    for pair in ((few, scanned(world, poses, 1)), (scanned(world, poses, 1), few)):
        assert find_crossing(*pair, CONFIG).constraints == ()
