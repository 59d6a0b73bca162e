"""Training of a student on a trunk: it begins as good as untrained, and only what is named moves."""

import dataclasses

import pytest
import timm
import torch
from run_settings import changed

from vpr_ros.configuration import DRIVE_MEAN_FRAMES
from vpr_ros.errors import VprError
from vpr_ros.recognition import Calibration
from vpr_ros.student import D2VPR, LITE0, NANO, DescriptorExtractor, read_checkpoint
from vpr_ros.student.parts import ReductionConfig
from vpr_ros.student.trunks.weights import trunk_config
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.export.runtime_checkpoint import export_student
from vpr_ros.training.student.config import ModelConfig, TrainConfig
from vpr_ros.training.student.freezing import trained_parameters
from vpr_ros.training.student.networks import build_student
from vpr_ros.training.student.sources import read_trained
from vpr_ros.training.student.train import train

OPTIONS = {
    "backbone": "mobilenetv3_small_050",
    "image_size": [64, 64],
    "stages": [1],
    "global_stage": 4,
    "global_pooling": "gem",
    "regions": [2, 4],
    "offset_hidden": 8,
    "fusion_hidden": 8,
}
CONFIG = trunk_config(**OPTIONS)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    torch.save(timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict(), tmp_path / "trunk.pth")
    return tmp_path / "trunk.pth"


def settings(folder, start, **changes):
    model = ModelConfig("lite0", OPTIONS, str(start), trained="heads")
    tiny = changed(
        TrainConfig(),
        train=(str(folder),),
        epochs=1,
        steps_per_epoch=3,
        places_per_batch=4,
        images_per_place=2,
        projection_dim=12,
        global_dim=6,
        cell_dim=8,
        accelerator="cpu",
        threads=1,
    )
    return changed(dataclasses.replace(tiny, model=model), **changes)


def test_a_run_begins_at_the_untrained_student_and_ends_in_two_parts(folder, weights, tmp_path):
    config = settings(folder, weights)
    start, untrained = build_student(config), read_checkpoint(weights, CONFIG).model
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(start.eval()(x), untrained(x))
    path = train(config, tmp_path / "run")
    found = read_checkpoint(path)
    assert DescriptorExtractor.from_checkpoint(path, device="cpu").parts == (12, 6)
    assert found.projection.parts[0].cells.dim == 8 and "parts" in found.metadata["provenance"]["projection"]
    before, after = untrained.state_dict(), found.model.state_dict()
    moved = {key for key in before if not torch.equal(before[key].half(), after[key].half())}
    assert {key.split(".")[0] for key in moved} == {"recovery", "aggregator", "region_weights", "global_pool"}
    assert found.metadata["provenance"]["trunk"]["network"] == "mobilenetv3_small_050"
    again = read_trained(tmp_path / "run")
    assert again.student.config == found.model.config and again.parts.cell_dim == 8


def test_an_exported_student_of_two_parts_is_calibrated_on_both(folder, tmp_path):
    table, out = TrainingSetSamples(folder), tmp_path / "two.safetensors"
    torch.manual_seed(0)
    made = export_student(D2VPR(CONFIG), table, table, out, {}, dim=12, whiten=0.5, parts=ReductionConfig(global_dim=6))
    assert made.calibrated
    calibration = Calibration.from_dict(DescriptorExtractor.from_checkpoint(out, device="cpu").calibration)
    assert len(calibration.evidence.map.knots) == 5  # three of the whole, one of each part
    assert calibration.drive_mean_frames == DRIVE_MEAN_FRAMES


def trained(model, what, last=0):
    trained_parameters(model, what, last)
    return {key for key, p in model.named_parameters() if p.requires_grad}


def test_which_parts_are_trained():
    model = D2VPR(CONFIG)
    everything = {key for key, _ in model.named_parameters()}
    heads = {key for key in everything if not key.startswith("backbone.")}
    assert trained(model, "all") == everything and trained(model, "heads") == heads
    assert trained(model, "heads", 2) == heads | {
        key for key in everything if key.startswith(("backbone.blocks.3", "backbone.blocks.4"))
    }
    assert trained(model, "d2vpr-stage2") == trained(model, "heads", 2)
    assert trained(model, "offsets") == {key for key in everything if key.startswith("aggregator.offsets.")}
    small = D2VPR(NANO)
    assert trained(small, "heads", 1) > {"backbone.blocks.5.mlp.fc1.weight"} and "backbone.cls_token" not in trained(
        small, "heads"
    )


def test_parts_that_are_not_there_get_a_sentence():
    with pytest.raises(VprError, match="needs aggregator: deformable"):
        trained_parameters(D2VPR(CONFIG.replace(aggregator="fixed")), "offsets")
    with pytest.raises(VprError, match="trained_blocks is 9, and mobilenetv3_small_050 has 5 blocks"):
        trained_parameters(D2VPR(CONFIG), "heads", 9)
    with pytest.raises(VprError, match="is for trained: heads"):
        trained_parameters(D2VPR(CONFIG), "all", 1)
    other = D2VPR(trunk_config("resnet18", image_size=(64, 64)))
    with pytest.raises(VprError, match="resnet18 has no blocks"):
        trained_parameters(other, "heads", 1)
    assert trained_parameters(other, "heads")


def test_the_run_of_the_shipped_kind_is_an_option_away():
    config = changed(TrainConfig(), student="lite0", options={"image_size": [96, 96], "stages": [2, 4]})
    built = build_student(config)
    assert built.config.dim == 40 + 112 and built.config.replace(image_size=(192, 192), stages=(3,), dim=80) == LITE0
    with pytest.raises(VprError, match="a student has no stagse"):
        build_student(changed(config, options={"stagse": [2]}))
