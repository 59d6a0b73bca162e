"""Training sets on disk, batches of places, augmentation."""

import cv2
import numpy as np
import pytest
import torch

from vpr_ros.errors import VprError
from vpr_ros.training.data.augment.images import AugmentConfig, augment
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig
from vpr_ros.training.data.augment.variation import RandAugmentConfig
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sampling.places import PlaceBatchSampler
from vpr_ros.training.student.frames import TrainingFrames
from vpr_ros.training_set import read_frame_table


def test_batches_hold_places_far_apart_seen_by_different_drives(folder):
    table = TrainingSetSamples(folder)
    sampler = PlaceBatchSampler(table, places=6, images_per_place=3, steps=5, epochs=2, seed=3, cities_per_batch=2)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 5
    for batch in batches:
        rows = np.array([key[0] for key in batch]).reshape(6, 3)
        for place in rows:
            assert len(set(table.drives[place])) == 3 and len(set(table.areas[place])) == 1
            assert np.ptp(table.positions_m[place], axis=0).max() <= 6
        anchors = rows[:, 0]
        for i in range(6):
            for j in range(i):
                if table.areas[anchors[i]] == table.areas[anchors[j]]:
                    assert np.linalg.norm(table.positions_m[anchors[i]] - table.positions_m[anchors[j]]) >= 15


def test_batches_depend_on_seed_and_epoch_alone(folder):
    table = TrainingSetSamples(folder)

    def make(seed):
        return PlaceBatchSampler(table, 4, 2, steps=3, epochs=2, seed=seed)

    first, again, other = make(1), make(1), make(2)
    again.set_epoch(1)
    list(again)
    again.set_epoch(0)
    assert list(first) == list(again) != list(other)
    again.set_epoch(1)
    assert list(first) != list(again)


def test_augmentation_strength_ramps_to_its_end(folder):
    sampler = PlaceBatchSampler(TrainingSetSamples(folder), 4, 2, steps=10, epochs=10, ramp=(0.0, 0.8), ramp_until=0.5)
    assert sampler.strength(0) == 0
    sampler.set_epoch(5)
    assert sampler.strength(0) == pytest.approx(0.8)
    sampler.set_epoch(9)
    assert sampler.strength(9) == pytest.approx(0.8)


def test_a_key_always_gives_the_same_sample(folder):
    frames = TrainingFrames(TrainingSetSamples(folder), (28, 42), AugmentConfig())
    a, b, c = frames[(3, 77, 1.0)], frames[(3, 77, 1.0)], frames[(3, 78, 1.0)]
    assert a["image"].shape == (3, 28, 42) and a["row"] == 3
    assert (a["image"] == b["image"]).all() and not (a["image"] == c["image"]).all()


def test_strength_zero_is_a_plain_resize():
    ramp = np.linspace(0, 255, 64)[None, :, None].repeat(48, 0).repeat(3, 2).astype(np.uint8)
    out = augment(ramp, (24, 32), AugmentConfig(), 0.0, np.random.default_rng(0))
    assert out.shape == (24, 32, 3) and out.dtype == np.uint8
    expected = cv2.resize(ramp, (32, 24), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(out[:, 2:-2].astype(int) - expected[:, 2:-2]).max() <= 3


@pytest.mark.parametrize("seed", range(20))
def test_augmented_images_stay_images(seed):
    image = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    out = augment(image, (56, 56), AugmentConfig(), 1.0, np.random.default_rng(seed))
    assert out.shape == (56, 56, 3) and out.dtype == np.uint8 and out.std() > 1


@pytest.mark.parametrize(
    "break_it, words",
    [
        (lambda d: (d / "meta.json").unlink(), "no training set"),
        (lambda d: (d / "meta.json").write_text("{"), "not valid JSON"),
        (lambda d: (d / "frames.csv").write_text("frame,drive\n1,a\n"), "lacks the columns"),
        (lambda d: (d / "frames.csv").write_text((d / "frames.csv").read_text().splitlines()[0] + "\n"), "no frames"),
        (
            lambda d: (d / "frames.csv").write_text((d / "frames.csv").read_text().replace("0.01", "north", 1)),
            "broken row",
        ),
        (
            lambda d: (d / "frames.csv").write_text((d / "frames.csv").read_text().replace("0.01", "nan", 1)),
            "frame 0 of drive a0 has no finite pose",
        ),
    ],
)
def test_a_broken_folder_is_told_in_one_sentence(folder, break_it, words):
    break_it(folder)
    with pytest.raises(VprError, match=words) as caught:
        read_frame_table(folder)
    assert "\n" not in str(caught.value)


def test_a_torn_image_is_named(folder):
    (folder / "00003.jpg").write_bytes(b"")
    with pytest.raises(VprError, match="00003.jpg"):
        TrainingFrames(TrainingSetSamples(folder), (28, 28), AugmentConfig())[(3, 1, 0.0)]


@pytest.mark.parametrize("how", [ImageAugmentConfig(), RandAugmentConfig(3, 15)], ids=["jitter", "rand_augment"])
def test_published_variations_are_drawn_by_the_key_and_leave_torchs_numbers_alone(folder, how):
    frames = TrainingFrames(TrainingSetSamples(folder), (28, 42), how)
    torch.manual_seed(0)
    a, b = frames[(3, 77, 1.0)]["image"], frames[(3, 77, 1.0)]["image"]
    drawn = torch.rand(1)
    others = [frames[(3, seed, 1.0)]["image"] for seed in range(5)]
    assert a.shape == (3, 28, 42) and torch.equal(a, b) and not all(torch.equal(a, other) for other in others)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn)
