from dataclasses import replace

import numpy as np
import pytest
from scanned_streets import box_street, drifting, drive_on, scans

from vpr_ros.geometry import invert, planar_transform, yaw_of
from vpr_ros.offline.crossing import CrossingConfig, ScannedDrive
from vpr_ros.offline.crossing.course import course_of, lidar_odometry
from vpr_ros.offline.crossing.grouping import Registrations, compare_registrations, groups, supports
from vpr_ros.offline.crossing.nominating import along_diagonals, nominate

LINE = np.array([(0, 0), (70, 0), (70, 90)])
CONFIG = CrossingConfig()


def course(poses):
    """By odometry alone, a frame a second."""
    return course_of(ScannedDrive([np.zeros((0, 3))] * len(poses), np.arange(len(poses)) * 1_000_000_000, poses))


@pytest.mark.parametrize(("shape", "reach"), [((7, 5), 2), ((3, 9), 20), ((1, 4), 1)])
def test_similarities_are_averaged_along_diagonals(shape, reach):
    values = np.random.default_rng(0).uniform(size=shape)
    for n in range(shape[0]):
        for m in range(shape[1]):
            on = [
                values[n + d, m + d]
                for d in range(-reach, reach + 1)
                if 0 <= n + d < shape[0] and 0 <= m + d < shape[1]
            ]
            assert along_diagonals(values, reach)[n, m] == pytest.approx(np.mean(on))


def test_a_course_counts_metres_without_trembling_and_knows_its_gaps():
    poses = drive_on(LINE, 0, 60, step_m=3.0)
    tremble = np.random.default_rng(0).normal(0, 0.02, (40, 2))
    standing = np.array([planar_transform(60 + x, y, 0) for x, y in tremble])
    lost = np.full((2, 4, 4), np.nan)
    jumped = planar_transform(500, 0, 0) @ drive_on(LINE, 60, 66, step_m=3.0)
    T = np.concatenate([poses, standing, lost, jumped])
    found = course(T)
    assert found.along_m[60] - found.along_m[20] < 0.5 and found.along_m[20] == pytest.approx(60, abs=0.2)
    assert found.part.tolist() == [0] * 60 + [-1] * 2 + [1] * 2
    rows = found.spaced(6.0)
    assert rows.tolist()[:4] == [0, 2, 4, 6] and not np.isin([60, 61], rows).any()
    assert set(rows[found.part[rows] == 1].tolist()) <= {62, 63}


def noisy_registrations(first, second, seed, wrong=6):
    """Every second frame of `second` with the nearest of `first`, and some with wrong transforms."""
    rng = np.random.default_rng(seed)
    j = np.arange(0, len(second), 2)
    i = np.linalg.norm(second[j, None, :3, 3] - first[None, :, :3, 3], axis=2).argmin(axis=1)
    T = invert(first[i]) @ second[j]
    at_random = rng.choice(len(j), wrong, replace=False)
    T[at_random, 0, 3] += rng.uniform(4, 9, wrong) * rng.choice([-1, 1], wrong)
    return Registrations(i, j, T), at_random


def test_registrations_are_compared_through_both_odometries():
    first, second = drive_on(LINE, 0, 150), drive_on(LINE, 30, 150)
    found, wrong = noisy_registrations(first, second, 0)
    courses = course(drifting(first, 1)), course(drifting(second, 2))
    compared = compare_registrations(found, courses, CONFIG)
    told = {frozenset(pair): same for *pair, same in zip(compared.p, compared.q, compared.same, strict=True)}
    one, two = (c.T for c in courses)
    expected = {}
    for p in range(len(found)):
        for q in range(p):
            way = max(
                abs(courses[0].along_m[found.first[p]] - courses[0].along_m[found.first[q]]),
                abs(courses[1].along_m[found.second[p]] - courses[1].along_m[found.second[q]]),
            )
            if way > CONFIG.window_m:
                continue
            # where q's frame of the second drive stands in the frame of the first's odometry, by p and by q
            by_p = one[found.first[p]] @ found.T[p] @ invert(two[found.second[p]]) @ two[found.second[q]]
            by_q = one[found.first[q]] @ found.T[q]
            apart = np.linalg.norm(by_p[:3, 3] - by_q[:3, 3])
            turned = abs(yaw_of(invert(by_p) @ by_q))
            expected[frozenset((p, q))] = apart <= 0.5 + 0.04 * way and turned <= np.radians(3 + 0.5 * np.sqrt(way))
    assert told.keys() == expected.keys() and len(told) > 200
    # the vectorised one carries the earlier to the later; the borders of the tolerance may differ by the direction
    assert np.mean([told[pair] == expected[pair] for pair in told]) > 0.99
    support, nearby = supports(len(found), compared)
    assert support[5] == sum(told[pair] for pair in told if 5 in pair)
    assert nearby[5] == sum(5 in pair for pair in told)
    assert (support[wrong] < nearby[wrong] / 2).all()


def test_a_group_is_what_says_the_same_and_is_set_apart():
    first, second = drive_on(LINE, 0, 150), drive_on(LINE, 30, 150)
    found, wrong = noisy_registrations(first, second, 0)
    courses = course(drifting(first, 1)), course(drifting(second, 2))
    margin = np.full(len(found), 0.2)
    (group,) = groups(found, margin, courses, CONFIG)
    assert set(group.tolist()) == set(range(len(found))) - set(wrong.tolist())
    assert groups(found, np.full(len(found), 0.01), courses, CONFIG) == []  # another place is as much alike
    short = np.flatnonzero(courses[1].along_m[found.second] < 25)
    assert groups(found[short], margin[short], courses, CONFIG) == []


def test_of_groups_that_contradict_the_one_with_more_evidence_stays():
    first, second = drive_on(LINE, 0, 150), drive_on(LINE, 30, 110)
    right, _ = noisy_registrations(first, second, 0, wrong=0)
    shifted = right.T.copy()
    shifted[:, 0, 3] += 7.0  # one house further
    both = Registrations(
        np.concatenate([right.first, right.first]),
        np.concatenate([right.second, right.second]),
        np.concatenate([shifted, right.T]),
    )
    margin = np.repeat([0.15, 0.3], len(right))
    (kept,) = groups(both, margin, (course(first), course(second)), CONFIG)
    assert kept.min() >= len(right)


def test_clouds_tell_how_the_robot_moved():
    pytest.importorskip("small_gicp")
    poses = drive_on(LINE, 50, 100)
    clouds = scans(box_street(LINE, 3), poses, 0)
    clouds.insert(10, np.zeros((0, 3), np.float32))
    T, cut = lidar_odometry(clouds)
    seen = np.delete(np.arange(len(clouds)), 10)
    assert np.flatnonzero(cut).tolist() == [10, 11]  # the empty cloud, and what cannot be registered with it
    for part, rows in ((seen[:10], np.arange(10)), (seen[10:], np.arange(10, len(poses)))):
        error = invert(invert(poses[rows[0]]) @ poses[rows]) @ invert(T[part[0]]) @ T[part]
        assert np.linalg.norm(error[:, :3, 3], axis=1).max() < 0.3


def test_another_lane_is_named_as_if_seen_from_there():
    street = box_street(LINE, seed=4)
    first = drive_on(LINE, 0, 120)
    second = first @ planar_transform(0, -4.0, 0)
    clouds = scans(street, first, 1), scans(street, second, 2)
    courses = course(first), course(second)
    right = {}
    for beside in ((0.0,), CONFIG.beside_m):
        found = nominate(clouds, courses, replace(CONFIG, sequence_m=0.0, candidates=1, beside_m=beside))
        right[beside] = np.abs(found.first - found.second) <= 2
    assert right[CONFIG.beside_m].sum() > right[(0.0,)].sum() + 4
    assert right[CONFIG.beside_m].mean() > 0.8
