"""Kept maps stand for pixels, and a student that was trained on them goes back into a checkpoint."""

import numpy as np
import pytest
import torch
from trunk_students import CONFIG, noise_pictures, projection_of, trunk_student

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, NANO, DescriptorExtractor, read_checkpoint, save_checkpoint
from vpr_ros.student.checkpoints import fingerprint_of
from vpr_ros.student.trunks.features import Trunk
from vpr_ros.training.adapt.maps import FromMaps, on_maps, packed
from vpr_ros.training.adapt.reduced import Reduced


@pytest.fixture(scope="module")
def student():
    return trunk_student()


@pytest.fixture(scope="module")
def images():
    return noise_pictures()


@pytest.fixture(scope="module")
def rows(student, images):
    done = []
    found = packed(student, images, done.append)
    assert done == [16, 32, 40]
    return found


@pytest.fixture
def moved(student, images):
    """A student whose heads and projections were trained, as far as numbers go."""
    model = Reduced(student, projection_of(student, images))
    torch.manual_seed(1)
    with torch.no_grad():
        for matrix in model.matrices:
            matrix += 0.3 * torch.randn_like(matrix)
        model.student.region_weights.add_(0.2 * torch.rand_like(model.student.region_weights))
    return model


def test_a_student_on_kept_maps_describes_as_on_pixels(student, images, rows):
    direct = DescriptorExtractor(student, device="cpu").describe_raw(images)
    assert rows.dtype == np.float16
    with torch.inference_mode():
        through = on_maps(student)(torch.from_numpy(rows).float()[:, :, None, None]).numpy()
    assert np.abs(direct - through).max() < 2e-3
    assert np.abs(direct - through[::-1]).max() > 0.02
    assert isinstance(student.backbone, Trunk) and not isinstance(student.backbone, FromMaps)


def test_nano_on_kept_maps_describes_as_on_pixels():
    checkpoint, images = read_checkpoint("nano"), noise_pictures(3)
    extractor = DescriptorExtractor(checkpoint.model, checkpoint.projection, device="cpu")
    kept = Reduced(checkpoint.model, checkpoint.projection).describe(packed(checkpoint.model, images))
    assert np.abs(extractor.describe_raw(images) - kept).max() < 2e-3


def test_the_trained_descriptor_is_that_of_the_projection(moved, images, rows):
    with torch.no_grad():
        found = moved(torch.from_numpy(rows)).numpy()
    assert np.allclose(moved.describe(rows), found, atol=1e-5)
    with torch.no_grad():
        raw = moved.student(torch.from_numpy(rows).float()[:, :, None, None]).numpy()
    for one, description in zip(raw, found, strict=True):
        joined, at = [], 0
        for number, part in enumerate(moved.start.parts):
            piece = one[at : at + part.length]
            at += part.length
            matrix = moved.matrices[number].detach().numpy() * moved.scales[number]
            score = (piece / np.linalg.norm(piece) - part.joint.mean) @ matrix
            joined.append(score / np.linalg.norm(score) * np.sqrt(moved.start.weights[number]))
        assert np.allclose(np.concatenate(joined), description, atol=1e-4)
    assert np.abs(found - moved.start.apply(raw)).max() > 0.05


def test_a_trained_student_goes_back_into_a_checkpoint_as_it_was_described(student, images, rows, moved, tmp_path):
    back = moved.on_pixels(student)
    fingerprint = save_checkpoint(tmp_path / "own.safetensors", back, moved.projection())
    read = read_checkpoint(tmp_path / "own.safetensors")
    assert read.metadata["fingerprint"] == fingerprint == fingerprint_of(back, moved.projection())
    assert fingerprint != fingerprint_of(student, moved.start)
    extractor = DescriptorExtractor(read.model, read.projection, device="cpu")
    assert np.abs(extractor.describe_raw(images) - moved.describe(rows)).max() < 5e-3
    trunk = student.backbone.state_dict()
    assert all(torch.equal(value, trunk[key]) for key, value in back.backbone.state_dict().items())


def test_students_that_cannot_be_kept_are_refused(student):
    with pytest.raises(VprError, match=r"'nano' cannot be kept.*finetune"):
        packed(D2VPR(NANO), [])
    with pytest.raises(VprError, match="pooled by its mean"):
        packed(D2VPR(CONFIG.replace(global_pooling="gem")), [])
    with pytest.raises(VprError, match=r"no projection that can be trained.*vpr_ros project"):
        Reduced(student, None)
