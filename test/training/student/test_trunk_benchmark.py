"""The measurement of trained students on a trunk: kept maps stand for pixels, and only what is named moves."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_ros.errors import VprError
from vpr_ros.pictures import encode
from vpr_ros.student import D2VPR, DescriptorExtractor
from vpr_ros.student.parts import fit_parts
from vpr_ros.student.trunks.weights import trunk_config
from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sampling.masks import masks_by_pose

OPTIONS = {
    "backbone": "mobilenetv3_small_050",
    "image_size": (64, 64),
    "stages": (1,),
    "global_stage": 4,
    "regions": (2, 3),
    "offset_hidden": 8,
    "fusion_hidden": 8,
}
CONFIG = trunk_config(OPTIONS["backbone"], **{key: value for key, value in OPTIONS.items() if key != "backbone"})


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "benchmarks"))
    import trunk_maps
    import trunk_training

    return trunk_maps, trunk_training


@pytest.fixture
def student():
    """Its offsets, residual, fusion, embedding and region weights are not at their start."""
    torch.manual_seed(0)
    model = D2VPR(CONFIG).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone."):
                parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 255, (40, 48, 80, 3), dtype=np.uint8))


def reduced(modules, student, images, dims=(5, 4)):
    raw = DescriptorExtractor(student, device="cpu").describe_raw(images)
    return modules[0].Reduced(student, fit_parts(raw, student.config, dims))


def test_a_student_on_kept_maps_describes_as_on_pixels(modules, student, images):
    direct = DescriptorExtractor(student, device="cpu").describe_raw(images)
    rows = modules[0].packed(student, images)
    assert rows.dtype == np.float16
    moved = modules[0].on_maps(student)
    with torch.inference_mode():
        through = moved(torch.from_numpy(rows).float()[:, :, None, None]).numpy()
    assert np.abs(direct - through).max() < 2e-3
    assert np.abs(direct - through[::-1]).max() > 0.02
    assert isinstance(student.backbone, modules[0].Trunk) and not isinstance(student.backbone, modules[0].FromMaps)


def test_the_trained_descriptor_is_that_of_the_projection(modules, student, images):
    model, rows = reduced(modules, student, images), modules[0].packed(student, images)
    with torch.no_grad():
        for matrix in model.matrices:
            matrix += 0.3 * torch.randn_like(matrix)
        found = model(torch.from_numpy(rows)).numpy()
    raw = DescriptorExtractor(student, device="cpu").describe_raw(images)
    assert np.abs(found - model.projection().apply(raw)).max() < 5e-3
    assert np.abs(found - model.start.apply(raw)).max() > 0.05
    assert np.allclose(model.describe(rows), found, atol=1e-5)


def test_maps_are_refused_for_students_that_need_more_of_them(modules):
    with pytest.raises(VprError, match="pooled by its mean"):
        modules[0].packed(D2VPR(CONFIG.replace(global_pooling="gem")), [])


@pytest.fixture
def bench(modules, student, images):
    """Ten places in four views each."""
    maps, training = modules
    places = np.repeat(np.arange(10), 4)
    table = maps.Pictures("photos", np.column_stack([40.0 * places, 0 * places]), 0.0 * places, places // 5, places)
    start, rows = reduced(modules, student, images), maps.packed(student, images)
    return training.Bench(start, {"photos": (table, rows)}, [], rows, 3, 4, start.describe(rows))


@pytest.mark.parametrize(
    ("trained", "moves"),
    [
        ("offsets", "student.aggregator.offsets"),
        ("weights", ("student.region_weights", "student.recovery")),
        ("heads", ("student.region_weights", "student.recovery", "student.aggregator")),
        ("projection", "matrices"),
    ],
)
def test_only_what_is_named_moves_and_averaging_leads_back(modules, bench, trained, moves, tmp_path):
    training = modules[1]
    before = {key: value.clone() for key, value in bench.start.state_dict().items()}
    model, losses = training.train(bench, training.Setting(trained, "photos", 1.0, 1.0), seed=0)
    assert len(losses) == 3
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert changed and all(key.startswith(moves) for key in changed)
    assert {key: value.sum() for key, value in bench.start.state_dict().items()} == {
        key: value.sum() for key, value in before.items()
    }
    half = training.averaged(bench.start, model, 0.5).state_dict()
    for key in changed:
        assert torch.allclose(half[key], (before[key] + model.state_dict()[key]) / 2, atol=1e-6)
    for _ in range(2):  # trained again, then read again
        again = training.kept_training(bench, training.Setting(trained, "photos", 1.0, 1.0), 0, tmp_path)
        assert all(torch.equal(value, again.model.state_dict()[key]) for key, value in model.state_dict().items())


def test_views_of_a_photograph_are_one_place_and_its_neighbours_neither(modules, tmp_path):
    (tmp_path / "floor").mkdir()
    for number in range(4):
        image = np.full((30, 40, 3), 60 * number, np.uint8)
        (tmp_path / "floor" / f"hall_{number:04d}.jpg").write_bytes(encode(image))
    table, views = modules[0].photographs(tmp_path, (24, 24), 0)
    assert len(list(views)) == len(table) == 4 * modules[0].VIEWS
    training = modules[1]
    positives, negatives = masks_by_pose(
        Nearness.of_maps(table.positions_m, table.headings_rad, np.zeros(len(table))).among(np.arange(len(table))),
        positive_m=1.5 * training.POSITIVE_M,
        positive_rad=1.5 * training.POSITIVE_RAD,
        negative_m=training.NEGATIVE_M,
    )
    number = np.arange(len(table)) // modules[0].VIEWS
    apart = np.abs(number[:, None] - number[None])
    assert (positives.numpy() == ((apart == 0) & ~np.eye(len(table), dtype=bool))).all()
    assert (negatives.numpy() == (apart >= 2)).all()


def test_what_is_chosen_is_the_best_mean_over_seeds_on_the_hard_cities(modules):
    def row(alpha, seed, hard):
        setting = {"trained": "heads", "pictures": "photos", "keep": 0.0, "rate": 1.0, "alpha": alpha}
        return setting | {"seed": seed, "means": True, "hard": hard}

    rows = [row(0.5, 0, 0.9), row(0.5, 1, 0.5), row(1.0, 0, 0.8), row(1.0, 1, 0.7), row(0.25, 0, 0.95)]
    chosen = modules[1].best_by_hard_cities(rows)
    assert chosen["alpha"] == 1.0 and chosen["hard"] == pytest.approx(0.75) and chosen["seed"] == 2
