"""The training-free student in one call: what is fitted on which pictures, and what the file keeps."""

import cv2
import numpy as np
import pytest
import timm
import torch

from vpr_ros.errors import VprError
from vpr_ros.offline.reduce_student import build_student, set_level_weights
from vpr_ros.student import D2VPR, LITE0, NANO, DescriptorExtractor, Projection, fit_parts
from vpr_ros.student.parts import ReductionConfig, fit_reduction
from vpr_ros.student.trunks.weights import trunk_config

CONFIG = trunk_config("mobilenetv3_small_050", image_size=(64, 64), stages=(1,), global_stage=4, regions=(2, 4))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("w") / "weights.pth"
    torch.save(timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict(), path)
    return path


def images(count, seed):
    rng = np.random.default_rng(seed)
    return [np.repeat(np.repeat(rng.integers(0, 255, (8, 8, 3), np.uint8), 10, 0), 10, 1) for _ in range(count)]


def test_one_call_makes_a_student_of_two_parts(weights, tmp_path):
    for number, image in enumerate(images(60, 0)):
        (tmp_path / "photos" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "photos" / str(number % 2) / f"{number:03}.png"), image[:, :, ::-1])
    made = build_student(
        weights,
        [tmp_path / "photos"],
        tmp_path / "made.safetensors",
        config=CONFIG,
        reduction=ReductionConfig(dim=12, global_dim=8, cell_dim=6, cell_whiten=0.5),
        level_weights=(1.0, 0.5),
        extra=images(20, 1),
        provenance={"made_by": "a test"},
    )
    facts = made.metadata["provenance"]
    assert facts["made_by"] == "a test" and facts["projection"]["images"] == 80
    assert facts["trunk"]["network"] == "mobilenetv3_small_050"
    assert made.model.region_weights.tolist() == [1.0] * 4 + [0.5] * 16
    extractor = DescriptorExtractor.from_checkpoint(tmp_path / "made.safetensors", device="cpu")
    assert extractor.parts == (12, 8)
    again = DescriptorExtractor(made.model, device="cpu").describe_raw(
        images(80, 0)[:60] + images(20, 1), project=False
    )
    # the file's weights are rounded to half precision, the fit was before that
    by_hand = fit_parts(again, CONFIG, (12, 8), whiten=0.5, cells=6, whiten_cells=0.5).apply(again[:9])
    found = extractor.describe_raw(images(9, 0))
    assert np.abs(by_hand @ by_hand.T - found @ found.T).max() < 0.05


def test_a_student_of_one_part_gets_one_projection_as_before():
    raw = np.random.default_rng(0).normal(size=(100, 14 * 96)).astype("f")
    plain = fit_reduction(raw, NANO, ReductionConfig(dim=8))
    assert isinstance(plain, Projection) and plain.dim == 8 and plain.whiten == 0.5
    assert fit_reduction(raw, NANO, ReductionConfig(dim=8, cell_dim=4)).lengths == (8,)


def test_weights_of_levels_are_checked():
    model = D2VPR(CONFIG)
    with pytest.raises(VprError, match="2 weights of levels are needed"):
        set_level_weights(model, (1.0,))
    with pytest.raises(VprError, match="region_weights: true"):
        set_level_weights(D2VPR(CONFIG.replace(region_weights=False)), (1.0, 1.0))
    assert LITE0.region_weights


def test_too_few_pictures_are_refused(weights, tmp_path):
    with pytest.raises(VprError, match="8 descriptors are too few"):
        build_student(
            weights, [], tmp_path / "x.safetensors", config=CONFIG, reduction=ReductionConfig(12), extra=images(8, 0)
        )
