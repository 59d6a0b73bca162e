import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, planar_transform, rotation_angle
from vpr_ros.offline.crossing import CrossingConfig, ScannedDrive, find_crossing
from vpr_ros.offline.crossing.grouping import Registrations, compare_registrations
from vpr_ros.offline.crossing.nominating import along_diagonals

pytest.importorskip("small_gicp")

LENGTH_M, STEP_M = 50.0, 2.0


def street(seed):
    """Points of the ground, boxes and poles on both sides of the x axis, world frame, metres."""
    rng = np.random.default_rng(seed)
    parts = [np.column_stack([rng.uniform(-30, LENGTH_M + 30, 2500), rng.uniform(-15, 15, 2500), np.zeros(2500)])]
    for _ in range(70):
        side = rng.choice([-1, 1])
        centre = np.r_[rng.uniform(-30, LENGTH_M + 30), side * rng.uniform(4.0, 14.0), 0]
        faces = rng.uniform(-0.5, 0.5, (110, 3))
        axis = rng.integers(0, 3, 110)
        faces[np.arange(110), axis] = np.sign(faces[np.arange(110), axis]) * 0.5
        parts.append(centre + (faces + [0, 0, 0.5]) * rng.uniform([0.5, 0.5, 1], [6, 4, 8]))
    return np.concatenate(parts)


def drive(world, seed, across_m=0.0, back=False, scale=1.0, odometry=True):
    """Clouds along the street, true poses, and odometry of which every step is `scale` times too long."""
    rng = np.random.default_rng(seed)
    at = np.arange(0, LENGTH_M + 0.1, STEP_M)
    T = np.array([planar_transform(x, across_m, 0.0) for x in at])
    if back:
        T = np.array([planar_transform(x, across_m, np.pi) for x in at[::-1]])
    clouds = []
    for pose in T:
        near = world[np.abs(world[:, 0] - pose[0, 3]) < 28]
        seen = near[rng.random(len(near)) < 0.7]
        back_again = invert(pose)
        points = seen @ back_again[:3, :3].T + back_again[:3, 3]
        clouds.append((points + rng.normal(0, 0.02, points.shape)).astype(np.float32))
    T_odom = invert(T[0]) @ T
    T_odom[:, :3, 3] *= scale
    return ScannedDrive(clouds, np.arange(len(T)) * 10**9, T_odom if odometry else None), T


def errors(crossing, T_first, T_second):
    """Metres and degrees of every constraint against the truth."""
    found = []
    for one in crossing.constraints:
        error = invert(invert(T_first[one.first]) @ T_second[one.second]) @ one.T_first_second
        found.append((np.linalg.norm(error[:3, 3]), np.degrees(rotation_angle(np.eye(3), error[:3, :3]))))
    return np.array(found).reshape(-1, 2)


@pytest.mark.parametrize("back", [False, True], ids=["along", "back"])
def test_two_drives_of_one_street_are_tied_together(back):
    world = street(1)
    first, T_first = drive(world, 1, scale=1.01)
    second, T_second = drive(world, 2, across_m=1.0, back=back, scale=0.985)
    crossing = find_crossing(first, second, CrossingConfig(every=4))
    found = errors(crossing, T_first, T_second)
    assert len(found) > 0.9 * len(second) and (found[:, 0] < 0.15).all() and (found[:, 1] < 1.0).all()
    one = crossing.constraints[3]
    assert 0 < one.similarity <= 1 and 0 < one.agreement <= 1 and one.support > 3 and one.confidence > 0.5
    assert one.covariance.shape == (6, 6) and (np.linalg.eigvalsh(one.covariance) > 0).all()


def test_a_drive_without_odometry_moves_by_its_clouds():
    world = street(1)
    first, T_first = drive(world, 1)
    second, T_second = drive(world, 2, across_m=1.0, odometry=False)
    crossing = find_crossing(first, second, CrossingConfig(every=4))
    found = errors(crossing, T_first, T_second)
    assert len(found) > 0.9 * len(second) and (found[:, 0] < 0.15).all()
    np.testing.assert_allclose(crossing.second.along_m[-1], LENGTH_M, atol=0.5)


def test_drives_of_different_streets_have_nothing_in_common():
    first, _ = drive(street(1), 1)
    second, _ = drive(street(7), 2)
    assert find_crossing(first, second, CrossingConfig(every=5)).constraints == ()


def test_registrations_agree_as_far_as_odometry_drifts():
    first, T = drive(street(1), 1)
    courses = (find_crossing(first, ScannedDrive([], np.zeros(0, np.int64), np.zeros((0, 4, 4)))).first,) * 2
    rows = np.array([2, 6, 10])
    shifts = [0.0, 0.3, 3.0]  # metres by which each is wrong along the street
    wrong = np.array([planar_transform(shift, 0, 0) for shift in shifts])
    compared = compare_registrations(Registrations(rows, rows, wrong), courses, CrossingConfig())
    said = {(int(p), int(q)): bool(same) for p, q, same in zip(compared.p, compared.q, compared.same, strict=True)}
    assert said == {(0, 1): True, (0, 2): False, (1, 2): False}


def test_means_along_diagonals():
    values = np.random.default_rng(0).random((7, 9))
    for n in range(7):
        for m in range(9):
            inside = [values[n + d, m + d] for d in range(-2, 3) if 0 <= n + d < 7 and 0 <= m + d < 9]
            assert along_diagonals(values, 2)[n, m] == pytest.approx(np.mean(inside))


def test_what_does_not_fit_is_refused():
    with pytest.raises(VprError, match="3 clouds do not go with 2 stamps"):
        ScannedDrive([np.zeros((1, 3))] * 3, np.array([1, 2]))
    with pytest.raises(VprError, match="sort them"):
        ScannedDrive([np.zeros((1, 3))] * 2, np.array([2, 1]))
    with pytest.raises(VprError, match="must be positive"):
        CrossingConfig(spacing_m=0.0)
