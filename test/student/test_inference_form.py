"""The inference form: the same descriptors as the student it is made of, captured whole, at every size and reading."""

import numpy as np
import pytest
import torch

from vpr_ros.student import D2VPR, NANO, DescriptorExtractor
from vpr_ros.student.config import LITE0
from vpr_ros.student.inference import inference_form
from vpr_ros.student.inference.colours import normalise
from vpr_ros.student.projection import Projection

TINY = NANO.replace(
    name="tiny", image_size=(56, 56), width=32, depth=2, heads=2, taps=(1, 2), dim=12, position_grid=(4, 4)
)
TRUNK = LITE0.replace(image_size=(64, 96))
STUDENTS = {
    "corrected": TINY,
    "released": TINY.replace(reading="released", stem="patch", layer_scale_init=0.5),
    "paper": TINY.replace(reading="paper", layer_scale_init=0.5),
    "no adapters": TINY.replace(adapter_width=0),
    "another size": TINY.replace(image_size=(56, 98), reading="released", position_grid=(6, 5)),
    "local standardisation": TINY.replace(standardise="local"),
    "fixed regions": TINY.replace(aggregator="fixed"),
    "trunk": TRUNK,
    "trunk with deformed regions": TRUNK.replace(aggregator="deformable"),
}


def shaken(config, seed=1):
    """A student with no parameter at a value that folding could miss."""
    torch.manual_seed(seed)
    student = D2VPR(config).eval()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)
        for name, buffer in student.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                buffer.normal_(0, 0.2)
    return student


def pixels(config, count=3):
    return torch.randint(0, 256, (count, *config.image_size, 3), dtype=torch.uint8)


def plain(student, images):
    with torch.inference_mode():
        return student(normalise(images, student.config.input_mean, student.config.input_std))


@pytest.fixture(params=STUDENTS, scope="module")
def student(request):
    return shaken(STUDENTS[request.param])


def test_it_gives_the_students_descriptors(student):
    images = pixels(student.config)
    expected = plain(student, images)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    with torch.inference_mode():
        got = inference_form(student)(images)
    assert (got - expected).abs().max() < 2e-6
    assert torch.nn.functional.cosine_similarity(got, expected).min() > 0.99999
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # else anything would equal it
    after = student.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ["corrected", "released", "paper", "another size", "trunk"])
def test_it_is_captured_whole(name):
    form = inference_form(shaken(STUDENTS[name]))
    two, three = pixels(STUDENTS[name], 2), pixels(STUDENTS[name], 3)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(form, (two,), dynamic_shapes=({0: batch},), strict=False).module()
    compiled = torch.compile(form, backend="eager", fullgraph=True, dynamic=False)
    with torch.no_grad():
        for images in (two, three):
            torch.testing.assert_close(program(images), form(images), atol=1e-6, rtol=0)
        torch.testing.assert_close(compiled(two), form(two), atol=1e-6, rtol=0)


def test_it_is_made_of_the_weights_of_now():
    student = shaken(TINY)
    images = pixels(TINY)
    first = plain(student, images)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.1)
    with torch.inference_mode():
        got = inference_form(student)(images)
    assert (got - first).abs().max() > 1e-3
    assert (got - plain(student, images)).abs().max() < 2e-6


@pytest.mark.parametrize("precision, least", [("bf16", 0.999), ("fp16", 0.99999)])
def test_half_precision_stays_close(precision, least):
    student = shaken(TINY)
    frames = list(pixels(TINY).numpy())
    full = DescriptorExtractor(student, device="cpu", precision="fp32").describe_raw(frames)
    half = DescriptorExtractor(student, device="cpu", precision=precision).describe_raw(frames)
    assert 1e-6 < np.abs(half - full).max()
    assert (half * full).sum(axis=1).min() > least


def test_the_projection_is_its_last_layer():
    student = shaken(TINY)
    rng = np.random.default_rng(0)
    matrix, _ = np.linalg.qr(rng.normal(size=(TINY.descriptor_dim, 24)))
    projection = Projection(rng.normal(size=TINY.descriptor_dim).astype(np.float32) * 0.01, matrix.astype(np.float32))
    images = pixels(TINY)
    with torch.inference_mode():
        got = inference_form(student, projection)(images)
    torch.testing.assert_close(
        got, torch.from_numpy(projection.apply(plain(student, images).numpy())), atol=2e-6, rtol=0
    )
