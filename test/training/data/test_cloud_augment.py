"""Augmentation of clouds and images: seeded, and step by step what METHODS section 4.3 says."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vpr_ros.errors import VprError
from vpr_ros.training.data.augment.clouds import (
    CLOUD_AUGMENTS,
    CloudAugmentConfig,
    augment_batch,
    augment_cloud,
    in_block,
    turn_and_flip,
)
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig, augment_image, erased_rectangle

OFF = CLOUD_AUGMENTS["none"]


def cloud(seed=0, count=2000):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3)).astype(np.float32)


def naive_cloud(points, config, seed):
    """The published steps one by one, on one point after the other."""
    rng = np.random.default_rng(seed)
    out = [[float(v) for v in p] for p in points]
    noise = rng.normal(0.0, config.jitter, (len(out), 3))
    for p, n in zip(out, noise, strict=True):
        for k in range(3):
            p[k] += min(max(n[k], -config.jitter_clip), config.jitter_clip)
    for i in rng.choice(len(out), int(len(out) * rng.uniform(0, config.remove)), replace=False):
        out[i] = [0.0, 0.0, 0.0]
    shift = config.translation * rng.standard_normal(3)
    out = [[p[k] + shift[k] for k in range(3)] for p in out]
    if rng.random() < config.block:
        xs, ys = [p[0] for p in out], [p[1] for p in out]
        spans = max(xs) - min(xs), max(ys) - min(ys)
        area = spans[0] * spans[1] * rng.uniform(*config.block_area)
        aspect = rng.uniform(*config.block_aspect)
        w, h = (area / aspect) ** 0.5, (area * aspect) ** 0.5
        u, v = rng.random(2)
        x, y = min(xs) + u * (spans[0] - w), min(ys) + v * (spans[1] - h)
        out = [[0.0] * 3 if x < p[0] < x + w and y < p[1] < y + h else p for p in out]
    return np.array(out)


def test_it_is_the_published_steps_in_their_order():
    config, blocks = CloudAugmentConfig(block=0.7), 0
    for seed in range(12):
        points = cloud(seed, 150)
        found = augment_cloud(points, config, np.random.default_rng(seed))
        expected = naive_cloud(points, config, seed)
        assert found.dtype == np.float32 and found.shape == points.shape
        assert np.abs(found - expected).max() < 1e-5
        blocks += int((found == 0).all(1).any())
    assert 4 <= blocks <= 12


def test_the_same_seed_gives_the_same_cloud_and_leaves_the_input():
    points = cloud()
    before = points.copy()
    first, again, other = (augment_cloud(points, CloudAugmentConfig(), np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(points, before)


def test_jitter_is_clipped():
    found = augment_cloud(cloud(), replace(OFF, jitter=0.001, jitter_clip=0.002), np.random.default_rng(0)) - cloud()
    assert np.abs(found).max() == pytest.approx(0.002, abs=2e-7)
    assert 0.0009 < found.std() < 0.001 and 0.02 < np.mean(np.abs(found) > 0.00199) < 0.08


def test_removed_points_stay_as_points_at_the_origin():
    shares = []
    for seed in range(40):
        found = augment_cloud(cloud(), replace(OFF, remove=0.1), np.random.default_rng(seed))
        gone = (found == 0).all(1)
        assert len(found) == 2000 and np.array_equal(found[~gone], cloud()[~gone])
        shares.append(gone.mean())
    assert max(shares) < 0.1 and 0.03 < np.mean(shares) < 0.07
    moved = augment_cloud(cloud(), replace(OFF, remove=0.1, translation=0.5), np.random.default_rng(3))
    values, counts = np.unique(moved, axis=0, return_counts=True)
    assert counts.max() > 10 and np.abs(values[counts.argmax()]).max() > 0.01, "the translation comes after the removal"


def test_the_removed_block_is_a_vertical_box_of_the_stated_size():
    config, points, sizes = CloudAugmentConfig(), cloud(0, 40000), []
    for seed in range(60):
        gone = in_block(points, config, np.random.default_rng(seed))
        if not gone.any():
            continue
        inside = points[gone]
        low, high = inside[:, :2].min(0), inside[:, :2].max(0)
        box = ((points[:, :2] >= low) & (points[:, :2] <= high)).all(1)
        assert np.array_equal(box, gone), "all points of the box, whatever their height"
        sizes.append([np.prod(high - low) / 4, (high[1] - low[1]) / (high[0] - low[0])])
    area, aspect = np.array(sizes).T
    assert area.max() < 0.34 and area.max() > 0.25 and area.min() < 0.08
    assert aspect.max() > 1.8 and aspect.min() < 0.8
    assert not len(in_block(points[:0], config, np.random.default_rng(0)))


def test_the_probability_of_a_block():
    rng = np.random.default_rng(1)
    hit = [(augment_cloud(cloud(0, 200), replace(OFF, block=0.4), rng) == 0).all(1).any() for _ in range(400)]
    assert 0.32 < np.mean(hit) < 0.46  # a box may miss the few points


def test_a_batch_shares_one_turn_and_one_flip():
    clouds, kinds, angles = [cloud(0, 50), cloud(1, 70)], [], []
    for seed in range(400):
        found = augment_batch(clouds, CloudAugmentConfig(), np.random.default_rng(seed))
        M = [np.linalg.lstsq(a, b, rcond=None)[0].T for a, b in zip(clouds, found, strict=True)]
        assert np.allclose(*M, atol=1e-5) and np.allclose(M[0] @ M[0].T, np.eye(3), atol=1e-5)
        assert np.allclose(M[0][2], [0, 0, 1], atol=1e-6) and np.allclose(M[0][:, 2], [0, 0, 1], atol=1e-6)
        flip = np.sign(np.diag(M[0])[:2])
        kinds.append("".join("-" if s < 0 else "+" for s in flip))
        turn = np.diag([*flip, 1]) @ M[0]
        angles.append(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
    assert set(kinds) == {"++", "-+", "+-"}, "never both axes"
    assert 0.18 < kinds.count("-+") / 400 < 0.32 and 0.18 < kinds.count("+-") / 400 < 0.32
    assert 4.8 < np.abs(angles).max() <= 5.0001 and abs(np.mean(angles)) < 0.5


def test_distilvprs_variants():
    oxford, boreas = CLOUD_AUGMENTS["distilvpr-oxford"], CLOUD_AUGMENTS["distilvpr-boreas"]
    clouds = [cloud(0, 50), cloud(1, 50)]
    same = augment_batch(clouds, oxford, np.random.default_rng(0))
    assert all(a is b for a, b in zip(same, clouds, strict=True)), "nothing is shared by the batch"
    bare = replace(oxford, jitter=0.0, remove=0.0, translation=0.0, block=0.0)
    found = augment_cloud(clouds[0], bare, np.random.default_rng(7))
    expected = turn_and_flip(clouds[:1], bare, np.random.default_rng(7))[0]
    assert np.array_equal(found, expected) and np.abs(found - clouds[0]).max() > 0.01
    assert np.allclose(augment_batch(clouds, boreas, np.random.default_rng(0))[0], clouds[0])
    found = augment_cloud(clouds[0], replace(boreas, remove=0.0, block=0.0), np.random.default_rng(0))
    assert 0 < np.abs(found - clouds[0]).max() <= 0.0021, "Boreas keeps jitter, and neither turns nor moves"
    assert boreas.remove == 0.1 and boreas.block == 0.4


@pytest.mark.parametrize("change, words", [({"turn_per": "day"}, "turn_per"), ({"flip_x": 0.9}, "at most 1")])
def test_settings_that_mean_nothing_are_told(change, words):
    with pytest.raises(VprError, match=words):
        CloudAugmentConfig(**change)


def picture(seed=0, size=(40, 60)):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(30, 200, (5, 6, 3), dtype=np.uint8))
    return np.array(small.resize(size[::-1], Image.Resampling.BICUBIC))


def test_images_are_seeded_and_jittered():
    config = ImageAugmentConfig(erase=0.0)
    first, again, other = (augment_image(picture(), config, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (40, 60, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_colour_step_is_its_formula(name):
    still = dict(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, erase=0.0)
    x = picture().astype(np.float64)
    grey = np.round(x @ [0.299, 0.587, 0.114])
    spreads = []
    for seed in range(20):
        found = augment_image(picture(), ImageAugmentConfig(**still | {name: 0.2}), np.random.default_rng(seed))
        base = {"brightness": 0.0, "contrast": np.round(grey.mean()), "saturation": grey[..., None]}[name]
        # the factor that explains the picture best must explain it, and lie in the stated range
        a, b = (x - base).ravel(), (found - base).ravel()
        factor = float(a @ b / (a @ a))
        assert np.abs(np.clip(base + factor * (x - base), 0, 255) - found).max() < 2.5
        spreads.append(factor)
    assert 0.8 <= min(spreads) + 0.01 and max(spreads) - 0.01 <= 1.2 and max(spreads) - min(spreads) > 0.2


def test_the_hue_turns_by_a_tenth_at_most():
    still = dict(brightness=0.0, contrast=0.0, saturation=0.0, erase=0.0)
    x, turns = picture(), []
    before = np.array(Image.fromarray(x).convert("HSV")).astype(int)
    clear = (before[..., 1] > 60) & (before[..., 2] > 60)
    for seed in range(20):
        found = augment_image(x, ImageAugmentConfig(**still, hue=0.1), np.random.default_rng(seed))
        after = np.array(Image.fromarray(found).convert("HSV")).astype(int)
        gap = (after[..., 0] - before[..., 0] + 128) % 256 - 128
        turns.append(np.median(gap[clear]) / 256)
        assert np.abs(after[..., 2] - before[..., 2]).max() <= 2
    assert np.abs(turns).max() <= 0.105 and np.ptp(turns) > 0.1


def test_the_erased_part_is_one_black_rectangle_of_the_stated_size():
    config = ImageAugmentConfig(0.0, 0.0, 0.0, 0.0, erase=0.5)
    x, shares = np.clip(picture(), 1, 255), []
    for seed in range(200):
        gone = (augment_image(x, config, np.random.default_rng(seed)) == 0).all(2)
        if gone.any():
            rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
            assert gone[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "a full rectangle"
            shares.append(gone.mean())
    assert 70 < len(shares) < 130 and 0.09 < min(shares) < 0.13 and 0.35 < max(shares) < 0.41


def test_an_image_too_narrow_for_any_rectangle_keeps_all():
    assert erased_rectangle((1, 400), ImageAugmentConfig(), np.random.default_rng(0)) == (0, 0, 0, 0)
