"""What a map cannot tell is said before anyone relies on it."""

import numpy as np
import pytest

from vpr_ros.place_map import Keyframes, limits

DIM = 32


def keyframes(views: np.ndarray) -> Keyframes:
    n, nowhere = len(views), np.full((len(views), 4, 4), np.nan)
    stamps, ids = np.arange(n) * 10**8, np.arange(1, n + 1)
    unit = views / np.linalg.norm(views, axis=1, keepdims=True)
    return Keyframes(ids, np.ones(n, np.int64), stamps, nowhere, nowhere, unit.astype(np.float16))


def scenes(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, DIM))


@pytest.mark.parametrize("count", [1, 3, 19])
def test_few_keyframes_are_named(count):
    (sentence,) = limits(keyframes(scenes(count)))
    assert f"only {count} keyframes" in sentence


def test_single_scenes_without_neighbours_are_named_and_a_drive_is_not():
    (sentence,) = limits(keyframes(scenes(80)))
    assert "one picture of each place" in sentence
    views = scenes(81)
    drive = np.concatenate([(1 - t) * views[:-1] + t * views[1:] for t in (0.0, 0.33, 0.67)], axis=1).reshape(-1, DIM)
    assert limits(keyframes(drive)) == []
    assert limits(keyframes(np.empty((0, DIM)))) == [], "an empty map is told as such elsewhere"
