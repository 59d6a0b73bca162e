"""Distillation runs: they learn from the teacher, resume to the same weights, and say what cannot work."""

import csv
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from torch import nn
from typer.testing import CliRunner

from vpr_ros.cli.app import app
from vpr_ros.errors import VprError
from vpr_ros.student import normalise, read_checkpoint, save_checkpoint
from vpr_ros.training.data import read_frame_table
from vpr_ros.training.data.augment import AugmentConfig
from vpr_ros.training.data.cloud_augment import CloudAugmentConfig
from vpr_ros.training.data.frames import FrameBatches, TrainingFrames
from vpr_ros.training.data.image_augment import ImageAugmentConfig
from vpr_ros.training.data.pairs import PairBatchSampler
from vpr_ros.training.data.sample import FrameTableSamples
from vpr_ros.training.engine.config import DistilConfig, TrainConfig
from vpr_ros.training.engine.curves import draw_curves
from vpr_ros.training.engine.distilling import Distilling
from vpr_ros.training.engine.module import MetricLearning
from vpr_ros.training.engine.rules import check, read_config
from vpr_ros.training.engine.students import build_student, width_of
from vpr_ros.training.engine.teacher_cache import RunTeacher
from vpr_ros.training.engine.teacher_space import in_space
from vpr_ros.training.engine.train import train
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.losses import DISTILLATION_WEIGHTS
from vpr_ros.training.losses.distilvpr import cross_terms, self_terms
from vpr_ros.training.teachers import collate, load_teacher, save_teacher

TEACHER = {
    "cloud_dim": 8,
    "image_dim": 8,
    "voxel_size": 1.0,
    "cloud_planes": [4, 4, 4],
    "image_size": [16, 24],
    "image_planes": [4, 4, 8],
}


@pytest.fixture(scope="module")
def folder(places_with_clouds):
    return places_with_clouds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_teacher(path, load_teacher("minkloc++", sparse="torch", **TEACHER))
    return path


def settings(folder, checkpoint, *, distil=None, **changes):
    section = DistilConfig(checkpoint=str(checkpoint), loss="rkd", sparse="torch")
    tiny = TrainConfig(
        train=(str(folder),),
        distil=dataclasses.replace(section, **(distil or {})),
        epochs=2,
        steps_per_epoch=2,
        places_per_batch=4,
        images_per_place=2,
        image_sizes=(28,),
        accelerator="cpu",
        threads=1,
    )
    return dataclasses.replace(tiny, **changes)


def samples_of(folder):
    return FrameTableSamples(read_frame_table(folder), "tiny")


def elsewhere(folder):
    """The same frames under other names, as if they were of other cities."""
    samples = samples_of(folder)
    samples.areas = np.char.add("other ", samples.areas)
    return samples


def weights(path):
    return read_checkpoint(path).model.state_dict()


def rows_of(out):
    with (out / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_run_from_configuration_alone(folder, checkpoint, tmp_path):
    path = train(settings(folder, checkpoint), tmp_path / "run", finish=False)
    found = read_checkpoint(path)
    assert found.projection is None and found.calibration_json is None
    provenance = found.metadata["provenance"]
    assert provenance["kind"] == "distillation" and provenance["config"]["distil"]["loss"] == "rkd"
    taught = provenance["teacher"]
    assert taught["teacher"] == "minkloc++" and taught["file"] == "teacher.safetensors" and len(taught["sha256"]) == 64
    assert str(folder.parent) not in json.dumps(provenance), "where files lay is nobody's business"
    assert taught["weights"] == DISTILLATION_WEIGHTS["rkd"]
    row = rows_of(tmp_path / "run")[-1]
    assert {"loss", "task", "distil", "rkd_distance", "rkd_angle", "learning_rate"} <= set(row)
    parts = float(row["task"]) + float(row["distil"])
    assert float(row["loss"]) == pytest.approx(parts, rel=1e-3)
    assert not any("distilling" in name for name in weights(path)), "the head is never exported"


def test_cached_embeddings_are_the_teachers_of_the_samples_as_they_lie(folder, checkpoint, tmp_path):
    train(settings(folder, checkpoint, epochs=1), tmp_path / "run", finish=False)
    expected = embed(load_teacher("minkloc++", checkpoint, sparse="torch"), samples_of(folder))
    assert np.allclose(np.load(tmp_path / "run" / "teacher.npy"), expected, atol=1e-6)


def test_embeddings_that_were_handed_over_do_as_well(folder, checkpoint, tmp_path):
    samples = samples_of(folder)
    embeddings = embed(load_teacher("minkloc++", checkpoint, sparse="torch"), samples)
    config = settings(folder, checkpoint)
    a = train(config, tmp_path / "a", finish=False)
    b = train(dataclasses.replace(config, train=()), tmp_path / "b", samples=samples, teacher=embeddings, finish=False)
    assert all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))
    with pytest.raises(VprError, match=r"\(48, D\) is needed"):
        train(config, tmp_path / "c", samples=samples, teacher=embeddings[1:], finish=False)


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_student_comes_to_the_teacher(folder, checkpoint, tmp_path, head):
    config = settings(
        folder,
        checkpoint,
        distil={"loss": "feature-mse", "head": head},
        loss="none",
        epochs=1,
        steps_per_epoch=40,
        ramp=(0.0, 0.0),
        learning_rate=3e-3,
    )
    seen, step = [], MetricLearning.training_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricLearning, "training_step", lambda s, b, i: seen.append(step(s, b, i)) or seen[-1])
        train(config, tmp_path / "run", finish=False)
    values = [float(loss.detach()) for loss in seen]
    assert np.mean(values[-5:]) < 0.5 * np.mean(values[:5])


PAIRS = {"batches": "pairs", "batch_size": 8, "cities_per_batch": 0, "positive_m": 25.0, "negative_m": 30.0}


@pytest.mark.parametrize(
    "change, distil",
    [
        ({"ema_decay": 0.9}, {"loss": "distilvpr-sc", "head": "mlp"}),
        ({"precision": "bf16-mixed"}, {"teacher_view": "online"}),
        (PAIRS, {"teacher_view": "frozen", "teacher_space": "whitened"}),
    ],
    ids=["cached", "online", "frozen"],
)
def test_a_run_that_was_cut_off_ends_with_the_same_weights(folder, checkpoint, tmp_path, monkeypatch, change, distil):
    dropping = {"fusion_dropout": 0.3}
    config = settings(folder, checkpoint, distil=distil, epochs=3, options=dropping, **change)
    whole = train(config, tmp_path / "whole", finish=False)
    step = MetricLearning.training_step

    def cut(self, batch, index):
        if self.current_epoch == 2 and index == 1:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, tmp_path / "parts", finish=False)
    monkeypatch.setattr(MetricLearning, "training_step", step)
    parts = train(config, tmp_path / "parts", finish=False)
    a, b = (torch.load(out / "last.ckpt", weights_only=True)["state_dict"] for out in (whole.parent, parts.parent))
    assert any(name.startswith("distilling.head") for name in a), "the head goes on, too"
    assert all(torch.equal(a[name], b[name]) for name in a)
    drop = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]  # noqa: E731
    assert drop(rows_of(tmp_path / "whole")) == drop(rows_of(tmp_path / "parts"))


def test_milestones_are_epochs_where_epochs_differ_in_length(folder, checkpoint, tmp_path, monkeypatch):
    draw, step, rates = PairBatchSampler.batches, MetricLearning.training_step, []
    monkeypatch.setattr(PairBatchSampler, "batches", lambda self: draw(self)[: 3 - (self.epoch == 1)])

    def watch(self, batch, index):
        rates.append((self.current_epoch, self.trainer.optimizers[0].param_groups[0]["lr"]))
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", watch)
    config = settings(folder, checkpoint, epochs=4, schedule="steps", milestones=(2,), warmup_fraction=0.0, **PAIRS)
    train(config, tmp_path / "run", finish=False)
    assert [epoch for epoch, _ in rates] == [0] * 3 + [1] * 2 + [2] * 3 + [3] * 3
    assert [rate for _, rate in rates] == pytest.approx([1e-3] * 5 + [1e-4] * 6)


def test_a_run_goes_on_with_its_teacher_alone(folder, checkpoint, tmp_path):
    mine = tmp_path / "teacher.safetensors"
    mine.write_bytes(checkpoint.read_bytes())
    config = settings(folder, mine, distil={"teacher_view": "online"}, epochs=1, steps_per_epoch=1)
    train(config, tmp_path / "run", finish=False)
    kept = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["provenance"]
    assert kept["kind"] == "distillation" and kept["teacher"]["file"] == mine.name and kept["frames"] == 48
    assert str(tmp_path) not in json.dumps(kept)
    torch.manual_seed(1)
    save_teacher(mine, load_teacher("minkloc++", sparse="torch", **TEACHER))
    with pytest.raises(VprError, match="another teacher"):
        train(config, tmp_path / "run", finish=False)
    train(config, tmp_path / "run", resume=False, finish=False)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_without_a_cloud_is_told_in_one_sentence(folder, checkpoint, tmp_path, workers):
    samples = samples_of(folder)
    samples.table.clouds[5] = None
    section = {"teacher_view": "online", "cloud_augment": CloudAugmentConfig(turn_per="batch")}
    config = settings(folder, checkpoint, distil=section, steps_per_epoch=9, workers=workers)
    with pytest.raises(VprError, match="has no cloud, which this teacher sees") as caught:
        train(config, tmp_path / "run", samples=samples, finish=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("view", ["cached", "frozen"])
def test_samples_without_a_cloud_are_learnt_by_the_task_alone(folder, checkpoint, tmp_path, caplog, view):
    blind, whole = samples_of(folder), samples_of(folder)
    unseen = np.arange(0, len(blind), 3)
    for row in unseen:
        blind.table.clouds[row] = None
    config = settings(folder, checkpoint, distil={"teacher_view": view, "teacher_space": "whitened"})
    path = train(config, tmp_path / "blind", samples=blind, finish=False)
    assert f"{len(unseen)} of {len(blind)} training samples have no cloud" in caplog.text
    kept = np.load(tmp_path / "blind" / "teacher.npy")
    assert np.isnan(kept[unseen]).all() and np.isfinite(np.delete(kept, unseen, 0)).all()
    train(config, tmp_path / "whole", samples=whole, finish=False)
    others = np.delete(np.load(tmp_path / "whole" / "teacher.npy"), unseen, 0)
    assert np.allclose(np.delete(kept, unseen, 0), others, atol=1e-4)
    assert all(torch.isfinite(value).all() for value in weights(path).values() if value.is_floating_point())
    assert {"task", "distil", "rkd_distance"} <= set(rows_of(tmp_path / "blind")[-1])


def test_a_batch_that_the_teacher_sees_in_part_has_the_losses_of_that_part(folder, checkpoint):
    config = settings(folder, checkpoint, distil={"head": "none"})
    samples, generator = samples_of(folder), torch.Generator().manual_seed(3)
    module = MetricLearning(build_student(config), samples, config, RunTeacher(None, np.zeros((48, 16)), {}))
    x = torch.randn(8, 24, generator=generator, requires_grad=True)
    taught = torch.randn(8, 16, generator=generator)
    masks = torch.rand(2, 8, 8, generator=generator) > 0.5
    taught[[1, 4, 5]] = torch.nan
    seen = [0, 2, 3, 6, 7]
    loss, terms = module._distil(x, x, taught, *masks)
    expected, by_name = module.distilling.weigh(x[seen], x[seen], taught[seen], *masks[:, seen][:, :, seen])
    assert loss == expected and terms == by_name and loss > 0
    (gradient,) = torch.autograd.grad(loss, x)
    assert (gradient[[1, 4, 5]] == 0).all() and (gradient[seen] != 0).any(1).all()
    nothing, none = module._distil(x, x, torch.full_like(taught, torch.nan), *masks)
    assert nothing == 0 and not none


def test_a_set_without_any_cloud_cannot_be_taught_by_one_who_needs_them(folder, checkpoint, tmp_path):
    samples = samples_of(folder)
    samples.table.clouds[:] = [None] * len(samples)
    with pytest.raises(VprError, match="none of the 48 samples has one"):
        train(settings(folder, checkpoint), tmp_path / "run", samples=samples, finish=False)


def test_a_run_starts_from_a_checkpoint(folder, checkpoint, tmp_path):
    torch.manual_seed(5)
    first = build_student(TrainConfig(seed=5))
    save_checkpoint(tmp_path / "first.safetensors", first)
    started = build_student(TrainConfig(seed=1, start=str(tmp_path / "first.safetensors")))
    assert started.training
    assert all(
        torch.equal(a, b) for a, b in zip(started.state_dict().values(), first.state_dict().values(), strict=True)
    )
    other = TrainConfig(start=str(tmp_path / "first.safetensors"), options={"reading": "paper"})
    with pytest.raises(VprError, match="reading"):
        build_student(other)
    with pytest.raises(VprError, match="does not fit"):
        build_student(TrainConfig(start=str(tmp_path / "first.safetensors"), options={"dim": 32}))


def scripted(monkeypatch, recalls):
    """Validation recalls of the epochs, in place of measured ones."""
    left = iter(recalls)
    monkeypatch.setattr("vpr_ros.training.engine.train.recall_by_condition", lambda *_: {"all": next(left)})


@pytest.mark.parametrize("keep, epoch", [("best", 2), ("last", 5)])
def test_patience_ends_a_run_and_the_best_epoch_is_kept(folder, checkpoint, tmp_path, monkeypatch, keep, epoch):
    config = settings(folder, checkpoint, epochs=9, patience=3, validate_every=1, keep=keep, steps_per_epoch=1)
    config = dataclasses.replace(config, loss="contrastive", distil=None)
    samples = elsewhere(folder)
    scripted(monkeypatch, [0.2, 0.5, 0.5, 0.4, 0.3, 0.9])
    path = train(config, tmp_path / "run", validation=samples, finish=False)
    assert len(rows_of(tmp_path / "run")) == 5
    found = read_checkpoint(path)
    assert found.metadata["provenance"]["epoch"] == epoch
    scripted(monkeypatch, [1.0])
    again = train(config, tmp_path / "run", validation=samples, finish=False)
    assert len(rows_of(tmp_path / "run")) == 5, "a run that ended stays ended"
    a, b = weights(again), found.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(VprError, match="name a validation folder"):
        train(config, tmp_path / "other", finish=False)
    drives = np.array([drive.endswith("0") for drive in samples.drives])
    one_drive = FrameTableSamples(samples.table.select(np.flatnonzero(drives)), "one drive")
    with pytest.raises(VprError, match="one drive has no query"):
        train(config, tmp_path / "other", validation=one_drive, finish=False)


def test_patience_counts_the_same_after_a_resume(folder, checkpoint, tmp_path, monkeypatch):
    config = settings(folder, checkpoint, epochs=9, patience=2, validate_every=2, keep="best", steps_per_epoch=1)
    config = dataclasses.replace(config, distil=None)
    scripted(monkeypatch, [0.5, 0.4, 0.9])
    whole = train(config, tmp_path / "whole", validation=elsewhere(folder), finish=False)
    scripted(monkeypatch, [0.5, 0.4, 0.9])
    step = MetricLearning.training_step

    def cut(self, batch, index):
        if self.global_step == 3:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, tmp_path / "parts", validation=elsewhere(folder), finish=False)
    monkeypatch.setattr(MetricLearning, "training_step", step)
    parts = train(config, tmp_path / "parts", validation=elsewhere(folder), finish=False)
    counts = [[row["epoch"] for row in rows_of(tmp_path / name)] for name in ("whole", "parts")]
    assert counts[0] == counts[1] == ["1", "2", "3", "4"]
    a, b = weights(whole), weights(parts)
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("view", ["online", "frozen"])
def test_views_of_the_teacher(folder, checkpoint, tmp_path, monkeypatch, view):
    config = settings(folder, checkpoint, distil={"teacher_view": view}, ramp=(1.0, 1.0))
    seen, step = [], MetricLearning.training_step

    def watch(self, batch, index):
        seen.append((batch["row"].clone(), self._embeddings(batch, batch["row"]).clone()))
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", watch)
    a = train(config, tmp_path / "a", finish=False)
    first, seen[:] = list(seen), []
    b = train(config, tmp_path / "b", finish=False)
    x, y = weights(a), weights(b)
    assert all(torch.equal(x[name], y[name]) for name in x), "augmentations are drawn by the seed"
    assert all(torch.equal(p[1], q[1]) for p, q in zip(first, seen, strict=True))
    plain = torch.from_numpy(embed(load_teacher("minkloc++", checkpoint, sparse="torch"), samples_of(folder)))
    assert all((taught - plain[rows]).norm() > 1e-3 for rows, taught in seen), "what was embedded is augmented"
    by_row = {}
    for rows, taught in seen:
        for row, one in zip(rows.tolist(), taught, strict=True):
            by_row.setdefault(row, []).append(one)
    again = [torch.equal(ones[0], ones[-1]) for ones in by_row.values() if len(ones) > 1]
    assert again and all(again) if view == "frozen" else not any(again)
    assert (tmp_path / "a" / "teacher.npy").exists() == (view == "frozen")


def test_an_onlooking_teacher_sees_the_students_picture(folder):
    teacher = load_teacher("minkloc++", sparse="torch", **TEACHER)
    frames = TrainingFrames(samples_of(folder), (28, 28), AugmentConfig(), teacher=teacher.inputs)
    item = frames[(3, 5, 1.0, 7)]
    batch = FrameBatches(teacher.inputs, frames.cloud)([item])
    picture = item["sample"].image
    assert picture.shape == (28, 28, 3)
    assert torch.equal(item["image"], normalise(torch.from_numpy(picture)[None])[0])
    assert torch.equal(batch["teacher"]["images"], collate([item["sample"]], teacher.inputs)["images"])
    assert batch["teacher"]["clouds"][0].shape == (60, 3) and batch["image"].shape == (1, 3, 28, 28)


def test_an_image_network_of_the_teachers_as_student(folder, checkpoint, tmp_path):
    small = {"dim": 16, "image_planes": [4, 4, 8], "image_size": [28, 28]}
    config = settings(
        folder,
        checkpoint,
        distil={"head": "none"},
        student="distilvpr-resnet18",
        options=small,
        image_sizes=(),
        loss="triplet",
        task_weight=0.5,
        batches="pairs",
        batch_size=8,
        positive_m=10.0,
        negative_m=50.0,
        cities_per_batch=0,
        optimiser="adam",
        clip=0.0,
        schedule="steps",
        milestones=(1,),
    )
    path = train(config, tmp_path / "run")
    student = load_teacher("distilvpr-resnet18", path)
    assert embed(student, samples_of(folder)).shape == (48, 16)
    rates = [float(row["learning_rate"]) for row in rows_of(tmp_path / "run")]
    assert rates[-1] == pytest.approx(1e-4)
    with pytest.raises(VprError, match="sees more than an image"):
        build_student(dataclasses.replace(config, student="minkloc++", options=TEACHER))


def test_the_picture_of_a_run(folder, checkpoint, tmp_path):
    rows = [{"epoch": 1, "loss": 2.0, "rkd_angle": 0.1, "batch_recall": 0.5, "learning_rate": 0.1, "seconds": 1.0}]
    draw_curves([*rows, {**rows[0], "epoch": 2, "all": 0.7}], tmp_path / "curves.png")
    assert cv2.imread(str(tmp_path / "curves.png")).std() > 5


def test_weights_of_terms_are_checked_and_used():
    config = DistilConfig(loss="rkd", head="none", weights={"rkd_angle": 0.0}, scale=3.0)
    x, t = torch.randn(6, 8, requires_grad=True), torch.randn(6, 4)
    masks = torch.zeros(6, 6, dtype=torch.bool), torch.ones(6, 6, dtype=torch.bool)
    total, terms = Distilling(config, 8, 4).weigh(x, x, t, *masks)
    assert total.item() == pytest.approx(3 * DISTILLATION_WEIGHTS["rkd"]["rkd_distance"] * terms["rkd_distance"].item())
    with pytest.raises(VprError, match="equal widths"):
        Distilling(DistilConfig(loss="feature-mse", head="none"), 8, 4)
    assert isinstance(Distilling(DistilConfig(loss="feature-mse"), 8, 4).head, nn.Linear)


def test_only_losses_of_equal_widths_need_the_head():
    """Joined losses: cross terms see the head's output, self terms the descriptor itself."""
    config = DistilConfig(loss="distilvpr-s + distilvpr-c", head_for="widths")
    distilling = Distilling(config, 8, 4)
    x, t = torch.randn(6, 8), torch.randn(6, 4)
    masks = torch.zeros(6, 6, dtype=torch.bool), torch.ones(6, 6, dtype=torch.bool)
    headed = distilling.head(x)
    total, terms = distilling.weigh(x, headed, t, *masks)
    assert headed.shape == (6, 4)
    alone = self_terms(x, t) | cross_terms(headed, t)
    assert terms.keys() == alone.keys()
    assert all(terms[name].item() == pytest.approx(alone[name].item()) for name in alone)
    weights = {**DISTILLATION_WEIGHTS["distilvpr-s"], **DISTILLATION_WEIGHTS["distilvpr-c"]}
    assert total.item() == pytest.approx(sum(weights[name] * alone[name].item() for name in alone), rel=1e-5)
    relational = Distilling(DistilConfig(loss="distilvpr-s", head_for="widths"), 8, 4)
    assert isinstance(relational.head, nn.Identity)


def test_spaces_of_a_teacher():
    x = np.random.default_rng(0).normal(3.0, [5.0, 1.0, 0.2], (400, 3))
    centred, whitened = in_space(x, "centred"), in_space(x, "whitened")
    assert in_space(x, "raw") is x
    for found in (centred, whitened):
        assert np.abs(found.mean(0)).max() < 1e-6
        assert np.linalg.norm(found, axis=1).mean() == pytest.approx(1.0)
    gap = lambda a, i, j: np.linalg.norm(a[i] - a[j])  # noqa: E731
    assert gap(centred, 0, 1) / gap(centred, 2, 3) == pytest.approx(gap(x, 0, 1) / gap(x, 2, 3))
    spread = whitened.std(0)
    assert spread[0] / spread[1] == pytest.approx((x[:, 0].std() / x[:, 1].std()) ** 0.5, rel=0.1)
    assert not in_space(np.ones((4, 3)), "whitened").any()


@pytest.mark.parametrize(
    "change, distil, words",
    [
        ({}, {"teacher": "minkloc"}, "distil: teacher"),
        ({}, {"loss": "huber"}, "distil: loss"),
        ({}, {"head": "conv"}, "distil: head"),
        ({}, {"teacher_view": "live"}, "teacher_view"),
        ({}, {"loss": "feature-mse", "head_dim": 7}, "head_dim must be 0"),
        ({}, {"weights": {"rkd_angle": "much"}}, "numbers of at least 0"),
        ({}, {"weights": {"angle": 1.0}}, "has no term angle; it has rkd_distance, rkd_angle"),
        ({}, {"loss": "distilvpr-sc + distilvpr-s"}, "share the term self_cosine, self_euclidean, self_hyperbolic"),
        ({}, {"head": "none", "head_dim": 8}, "head is none"),
        ({}, {"scale": 0.0}, "scale must be above 0"),
        ({}, {"cloud_augment": CloudAugmentConfig(jitter=0.0)}, "cloud_augment is for"),
        ({"patience": 2, "validate_every": 4}, {}, "patience must be validate_every or more"),
        ({"milestones": (1,)}, {}, "milestones and schedule: steps"),
        ({"schedule": "steps"}, {}, "milestones and schedule: steps"),
        ({"batch_norm": "frozen"}, {}, "freezes none"),
        ({"cities_per_batch": 0}, {}, "cities_per_batch must be 1 or more"),
        ({"jitter": ImageAugmentConfig(), "augment": AugmentConfig(grey=0.0)}, {}, "in place of augment"),
        ({"precision": "fp16"}, {}, "precision is 'fp16'"),
        ({"learning_rate": float("nan")}, {}, "learning_rate must be above 0"),
        ({"loss": "huber"}, {}, "loss is 'huber'"),
        ({"batches": "random"}, {}, "batches is"),
        ({"layout": "gsv-cities"}, {}, "needs batches: visits"),
        ({"keep": "first"}, {}, "keep is"),
        ({"schedule": "linear"}, {}, "schedule is"),
    ],
)
def test_settings_that_cannot_work_are_told(folder, checkpoint, change, distil, words):
    with pytest.raises(VprError, match=words):
        check(settings(folder, checkpoint, distil=distil, **change))
    with pytest.raises(VprError, match="nothing is learnt"):
        check(TrainConfig(train=("x",), loss="none"))


def test_the_section_is_read_from_yaml(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("train: [a]\ndistil: {teacher: adafusion, loss: rkd, weights: {rkd_angle: 0}}\n")
    config = read_config(path)
    assert config.distil == DistilConfig(teacher="adafusion", loss="rkd", weights={"rkd_angle": 0})
    path.write_text("train: [a]\ndistil: {loss: rkd, weights: {rkd_angle: 1e-1}}\n")
    assert read_config(path).distil == DistilConfig(loss="rkd", weights={"rkd_angle": 0.1})
    path.write_text("train: [a]\ndistil:\n")
    assert read_config(path).distil is None
    path.write_text("train: [a]\ndistil: rkd\n")
    with pytest.raises(VprError, match="must hold"):
        read_config(path)
    path.write_text("train: [a]\ndistil: {speed: 1}\n")
    with pytest.raises(VprError, match="unknown key speed"):
        read_config(path)


def test_the_commands_are_doors_to_the_same_run(folder, checkpoint, tmp_path):
    config = settings(folder, checkpoint, distil={"checkpoint": "nowhere"}, epochs=1, steps_per_epoch=1)
    config = dataclasses.replace(config, train=("nowhere",), projection_dim=8)
    written, plain = tmp_path / "run.yaml", tmp_path / "plain.yaml"
    raw = json.loads(json.dumps(dataclasses.asdict(config)))
    written.write_text(yaml.safe_dump(raw))
    plain.write_text(yaml.safe_dump(raw | {"distil": None}))

    def run(*words):
        result = CliRunner().invoke(app, ["train", *map(str, words)])
        return result.exit_code, " ".join(result.output.split())

    code, said = run("distill", written, "-o", tmp_path / "a", "--train", folder, "--teacher", checkpoint)
    assert code == 0, said
    taught = tmp_path / "a" / "student.safetensors"
    assert read_checkpoint(taught).metadata["provenance"]["kind"] == "distillation"
    assert (tmp_path / "a" / "curves.png").exists()
    code, said = run("finetune", plain, "-o", tmp_path / "b", "--train", folder, "--start", taught)
    assert code == 0, said
    assert (
        read_checkpoint(tmp_path / "b" / "student.safetensors").metadata["provenance"]["config"]["start"] == taught.name
    )
    code, said = run("distill", plain, "-o", tmp_path / "c")
    assert code == 2 and "has no `distil` section" in said
    assert "has no `start`" in run("finetune", plain, "-o", tmp_path / "c")[1]
    assert "no training set" in run("distill", written, "-o", tmp_path / "c", "--teacher", checkpoint)[1]
    assert run("distill", written, "-o", tmp_path / "d", "--train", folder)[0] == 2


@pytest.mark.parametrize("name", ["distill", "distilvpr"])
def test_the_shipped_configurations_build(name):
    config = read_config(Path(__file__).parents[2] / "config" / "training" / f"{name}.yaml")
    config = dataclasses.replace(config, start="")
    assert config.distil is not None and width_of(build_student(config)) == {"distill": 1344, "distilvpr": 384}[name]
    Distilling(config.distil, width_of(build_student(config)), 384)
    if name == "distilvpr":
        assert (config.learning_rate, config.epochs, config.milestones) == (1e-4, 60, (40,))
        assert config.batch_size == 128 and config.task_weight == 0.5 and config.distil.teacher_view == "frozen"
