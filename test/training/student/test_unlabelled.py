"""A student taught by relations alone, on drives that nobody labelled: no pose, no common frame."""

import csv
import shutil

import pytest
import torch
from distil_runs import rows_of, settings, weights

from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.train import train

RELATIONS = {
    "teacher": "polar-grid",
    "checkpoint": "",
    "options": {"range_m": 12.0},
    "loss": "relations",
    "head": "none",
    "teacher_space": "whitened",
    "confidence": "match",
    "full_cloud": 100,
}


def without_poses(folder, out, keep=lambda row: False):
    """A copy of the set whose frames have no poses but for some."""
    shutil.copytree(folder, out)
    with (out / "frames.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (out / "frames.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        for number, row in enumerate(rows):
            writer.writerow(row if keep(number) else row | dict.fromkeys(("x_m", "y_m", "heading_rad"), ""))
    return out


@pytest.fixture(scope="module")
def blind(places_with_clouds, tmp_path_factory):
    return without_poses(places_with_clouds, tmp_path_factory.mktemp("unlabelled") / "blind")


def unlabelled(folder, **changes):
    distil = RELATIONS | changes.pop("distil", {})
    return settings(folder, "", distil=distil, batches="unlabelled", loss="none", **changes)


def test_relations_are_learnt_where_nothing_is_labelled(blind, tmp_path):
    samples = TrainingSetSamples(blind)
    assert samples.nearness.among(range(len(samples))).near(1e9).sum() == len(samples)
    config = unlabelled(
        blind, epochs=3, steps_per_epoch=12, cities_per_batch=1, learning_rate=3e-3, ramp=(0.0, 0.0), places_per_batch=6
    )
    train(config, tmp_path / "run", weights_only=True)
    first, *_, last = rows_of(tmp_path / "run")
    for term in ("relation_distance", "relation_angle", "relation_neighbours"):
        assert float(last[term]) < 0.8 * float(first[term]), term


def test_a_run_that_was_cut_off_ends_with_the_same_weights(blind, tmp_path, monkeypatch):
    config = unlabelled(blind)
    whole = train(config, tmp_path / "whole", weights_only=True)
    step = MetricLearning.training_step

    def cut(self, batch, index):
        if self.current_epoch == 1 and index == 1:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, tmp_path / "parts", weights_only=True)
    monkeypatch.setattr(MetricLearning, "training_step", step)
    parts = train(config, tmp_path / "parts", weights_only=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole).values(), weights(parts).values(), strict=True))
    other = train(unlabelled(blind, distil={"confidence": "none"}), tmp_path / "other", weights_only=True)
    assert any(not torch.equal(a, b) for a, b in zip(weights(whole).values(), weights(other).values(), strict=True))


def test_labels_of_a_part_and_relations_of_all(places_with_clouds, tmp_path):
    half = without_poses(places_with_clouds, tmp_path / "half", keep=lambda number: number % 12 < 6)
    config = settings(half, "", distil=RELATIONS, unlabelled_share=0.5, places_per_batch=8)
    seen = []
    step = MetricLearning.training_step

    def noted(self, batch, index):
        positives, _ = self.masks(batch["row"])
        seen.append((positives.any(1).sum().item(), len(batch["row"])))
        return step(self, batch, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricLearning, "training_step", noted)
        train(config, tmp_path / "run", weights_only=True)
    assert all(0 < labelled < count for labelled, count in seen)
    (last, *_) = rows_of(tmp_path / "run")[::-1]
    assert float(last["task"]) > 0 and float(last["relation_angle"]) > 0
