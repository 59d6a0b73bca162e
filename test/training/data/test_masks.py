"""Positive and negative pairs of a batch, held to loops over the definitions."""

import math

import numpy as np
import pytest

from vpr_ros.training.data.datasets.pointnetvlad.splits import TrainingSplit
from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sampling.masks import masks_by_lists, masks_by_pose, masks_by_position

HOME = np.array([5735300.0, 620300.0])  # around the test squares


def places(n, seed, spread=400.0):
    return HOME + np.random.default_rng(seed).uniform(-spread, spread, (n, 2))


def batch(seed, count=14):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 120, (count, 2))
    positions[1::2] = positions[::2] + rng.uniform(-4, 4, (count // 2, 2))
    return positions, np.repeat(rng.integers(0, 2, count // 2), 2), np.arange(count)


def by_position(positions, areas, rows, **limits):
    return masks_by_position(Nearness.of_maps(positions, None, areas).among(np.arange(len(rows))), rows, **limits)


def naive_masks(positions, areas, rows, positive_m, non_negative_m):
    n = len(rows)
    positive, negative = np.zeros((n, n), bool), np.zeros((n, n), bool)
    for i in range(n):
        for j in range(n):
            gap = math.dist(positions[i].tolist(), positions[j].tolist())
            inside = bool(areas[i] == areas[j])
            positive[i, j] = inside and gap <= positive_m and bool(rows[i] != rows[j])
            negative[i, j] = not (inside and gap <= non_negative_m)
    return positive, negative


@pytest.mark.parametrize("seed", range(6))
def test_masks_are_those_of_a_loop(seed):
    positions, areas, rows = batch(seed)
    rows[3] = rows[2]  # one element twice in a batch
    positions[3] = positions[2]
    found = by_position(positions, areas, rows, positive_m=10, non_negative_m=50)
    expected = naive_masks(positions, areas, rows, 10, 50)
    assert all((a.numpy() == b).all() for a, b in zip(found, expected, strict=True))
    assert found[0].any() and found[1].any() and not found[0][2, 3]


def test_the_limits_of_the_masks():
    positions = np.array([[0.0, 0], [10, 0], [10.01, 0], [50, 0], [50.01, 0]])
    positive, negative = by_position(positions, np.zeros(5), np.arange(5))
    assert positive[0].tolist() == [False, True, False, False, False]
    assert negative[0].tolist() == [False, False, False, False, True]
    _, elsewhere = by_position(positions, np.arange(5), np.arange(5))
    assert elsewhere[0].tolist() == [False, True, True, True, True], "other areas are negatives however near"


def test_masks_by_pose_follow_distance_heading_and_city():
    xy = np.array([[0.0, 0], [2, 0], [8, 0], [20, 0], [0, 0], [0, 0]])
    heading = np.array([0.0, 2 * np.pi - 0.1, 0, 0, np.pi, 0])
    gaps = Nearness.of_maps(xy, heading, np.array([0, 0, 0, 0, 0, 1])).among(range(6))
    positives, negatives = masks_by_pose(gaps, positive_m=3, positive_rad=0.35, negative_m=15)
    assert positives[0].tolist() == [False, True, False, False, False, False]
    assert negatives[0].tolist() == [False, False, False, True, True, True]
    assert not (positives & negatives).any() and (positives == positives.T).all()


def test_masks_by_lists_are_those_of_two_loops():
    split = TrainingSplit.build([f"oxford/r/f/{i}.bin" for i in range(60)], places(60, 1, 60.0), squares=())
    rows = [3, 17, 17, 40, 8, 59, 21]
    positives, negatives = split.masks(rows)
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            assert positives[i, j] == (b in split.positives[a] and a != b)
            assert negatives[i, j] == (b not in split.non_negatives[a] and a != b)
    found = by_position(split.positions[rows], np.zeros(len(rows)), np.array(rows))
    assert (positives == found[0].numpy()).all() and (negatives == found[1].numpy()).all()
    same = masks_by_lists([0, 1], [np.array([0, 1]), np.array([])], [np.array([]), np.array([])])
    assert same[0].tolist() == [[False, True], [False, False]] and not same[1].diagonal().any()
