"""The measurement of trained students on a trunk: only what is named moves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from trunk_students import noise_pictures, projection_of, trunk_student

from vpr_ros.pictures import encode
from vpr_ros.training.adapt.maps import packed
from vpr_ros.training.adapt.reduced import Reduced
from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sampling.masks import masks_by_pose


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "benchmarks"))
    import trunk_maps
    import trunk_training

    return trunk_maps, trunk_training


@pytest.fixture
def bench(modules):
    """Ten places in four views each."""
    maps, training = modules
    places = np.repeat(np.arange(10), 4)
    table = maps.Pictures("photos", np.column_stack([40.0 * places, 0 * places]), 0.0 * places, places // 5, places)
    student, images = trunk_student(), noise_pictures()
    start, rows = Reduced(student, projection_of(student, images)), packed(student, images)
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
