"""Distillation runs: they learn from the teacher, resume to the same weights, and say what cannot work."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from distil_runs import TEACHER, rows_of, samples_of, saved_teacher, settings, weights
from run_settings import changed
from torch import nn
from typer.testing import CliRunner

from vpr_ros.cli.app import app
from vpr_ros.errors import VprError
from vpr_ros.student import read_checkpoint, save_checkpoint
from vpr_ros.training.common.curves import draw_curves
from vpr_ros.training.data.augment.clouds import CloudAugmentConfig
from vpr_ros.training.data.augment.images import AugmentConfig
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig
from vpr_ros.training.data.sampling.pairs import PairBatchSampler
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.losses import DISTILLATION_WEIGHTS
from vpr_ros.training.losses.distilvpr import cross_terms, self_terms
from vpr_ros.training.student.config import DistillationConfig, TrainConfig, check, read_config
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.networks import build_student, width_of
from vpr_ros.training.student.teaching.distillation import Distillation
from vpr_ros.training.student.train import train
from vpr_ros.training.student.validation.start import Start
from vpr_ros.training.teachers import load_teacher, save_teacher


@pytest.fixture(scope="module")
def folder(places_with_clouds):
    return places_with_clouds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved_teacher(tmp_path_factory.mktemp("teacher"))


def elsewhere(folder):
    """The same frames under other names, as if they were of other cities."""
    samples = samples_of(folder)
    samples.areas = np.char.add("other ", samples.areas)
    return samples


def test_a_run_from_configuration_alone(folder, checkpoint, tmp_path):
    path = train(settings(folder, checkpoint), tmp_path / "run", weights_only=True)
    found = read_checkpoint(path)
    assert found.projection is None and found.calibration_json is None
    provenance = found.metadata["provenance"]
    assert provenance["kind"] == "distillation" and provenance["config"]["distillation"]["loss"] == "rkd"
    taught = provenance["teacher"]
    assert taught["teacher"] == "minkloc++" and taught["file"] == "teacher.safetensors" and len(taught["sha256"]) == 64
    assert str(folder.parent) not in json.dumps(provenance), "paths of a machine do not belong in a checkpoint"
    assert taught["weights"] == DISTILLATION_WEIGHTS["rkd"]
    row = rows_of(tmp_path / "run")[-1]
    assert {"loss", "task", "distil", "rkd_distance", "rkd_angle", "learning_rate"} <= set(row)
    parts = float(row["task"]) + float(row["distil"])
    assert float(row["loss"]) == pytest.approx(parts, rel=1e-3)
    assert not any("distilling" in name for name in weights(path)), "the head is never exported"


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
        train(config, tmp_path / "run", weights_only=True)
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
    whole = train(config, tmp_path / "whole", weights_only=True)
    step = MetricLearning.training_step

    def cut(self, batch, index):
        if self.current_epoch == 2 and index == 1:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, tmp_path / "parts", weights_only=True)
    monkeypatch.setattr(MetricLearning, "training_step", step)
    parts = train(config, tmp_path / "parts", weights_only=True)
    a, b = (torch.load(out / "last.ckpt", weights_only=True)["state_dict"] for out in (whole.parent, parts.parent))
    assert any(name.startswith("distilling.head") for name in a), "the head goes on, too"
    assert all(torch.equal(a[name], b[name]) for name in a)

    def drop(rows):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    assert drop(rows_of(tmp_path / "whole")) == drop(rows_of(tmp_path / "parts"))


def test_milestones_are_epochs_where_epochs_differ_in_length(folder, checkpoint, tmp_path, monkeypatch):
    draw, step, rates = PairBatchSampler.batches, MetricLearning.training_step, []
    monkeypatch.setattr(PairBatchSampler, "batches", lambda self: draw(self)[: 3 - (self.epoch == 1)])

    def watch(self, batch, index):
        rates.append((self.current_epoch, self.trainer.optimizers[0].param_groups[0]["lr"]))
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", watch)
    config = settings(folder, checkpoint, epochs=4, schedule="steps", milestones=(2,), warmup_fraction=0.0, **PAIRS)
    train(config, tmp_path / "run", weights_only=True)
    assert [epoch for epoch, _ in rates] == [0] * 3 + [1] * 2 + [2] * 3 + [3] * 3
    assert [rate for _, rate in rates] == pytest.approx([1e-3] * 5 + [1e-4] * 6)


def test_a_run_goes_on_with_its_teacher_alone(folder, checkpoint, tmp_path):
    mine = tmp_path / "teacher.safetensors"
    mine.write_bytes(checkpoint.read_bytes())
    config = settings(folder, mine, distil={"teacher_view": "online"}, epochs=1, steps_per_epoch=1)
    train(config, tmp_path / "run", weights_only=True)
    kept = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["provenance"]
    assert kept["kind"] == "distillation" and kept["teacher"]["file"] == mine.name and kept["frames"] == 48
    assert str(tmp_path) not in json.dumps(kept)
    torch.manual_seed(1)
    save_teacher(mine, load_teacher("minkloc++", sparse="torch", **TEACHER))
    with pytest.raises(VprError, match="another teacher"):
        train(config, tmp_path / "run", weights_only=True)
    train(config, tmp_path / "run", resume=False, weights_only=True)


def test_a_run_starts_from_a_checkpoint(folder, checkpoint, tmp_path):
    torch.manual_seed(5)
    first = build_student(changed(TrainConfig(), seed=5))
    save_checkpoint(tmp_path / "first.safetensors", first)
    started = build_student(changed(TrainConfig(), seed=1, start=str(tmp_path / "first.safetensors")))
    assert started.training
    assert all(
        torch.equal(a, b) for a, b in zip(started.state_dict().values(), first.state_dict().values(), strict=True)
    )
    other = changed(TrainConfig(), start=str(tmp_path / "first.safetensors"), options={"reading": "paper"})
    with pytest.raises(VprError, match="reading"):
        build_student(other)
    with pytest.raises(VprError, match="does not fit"):
        build_student(changed(TrainConfig(), start=str(tmp_path / "first.safetensors"), options={"dim": 32}))


def scripted(monkeypatch, recalls):
    """Validation recalls of the start and of the epochs, in place of measured ones; in the end nothing is worse."""
    left = iter(recalls)

    def begin(run):
        nothing = np.zeros(len(run.measured.queries), dtype=bool)
        return Start(nothing, nothing, False, {}), {"all": next(left)}

    monkeypatch.setattr("vpr_ros.training.student.train.measured_start", begin)
    monkeypatch.setattr("vpr_ros.training.student.train.validation_recalls", lambda _: {"all": next(left)})


@pytest.mark.parametrize("keep, epoch", [("best", 2), ("last", 5)])
def test_patience_ends_a_run_and_the_best_epoch_is_kept(folder, checkpoint, tmp_path, monkeypatch, keep, epoch):
    config = settings(folder, checkpoint, epochs=9, patience=3, validate_every=1, keep=keep, steps_per_epoch=1)
    config = changed(config, loss="contrastive", distillation=None)
    samples = elsewhere(folder)
    scripted(monkeypatch, [0.1, 0.2, 0.5, 0.5, 0.4, 0.3, 0.9])
    path = train(config, tmp_path / "run", validation=samples, weights_only=True)
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == list("012345")
    found = read_checkpoint(path)
    assert found.metadata["provenance"]["epoch"] == epoch
    scripted(monkeypatch, [1.0])
    again = train(config, tmp_path / "run", validation=samples, weights_only=True)
    assert len(rows_of(tmp_path / "run")) == 6, "a run that ended stays ended"
    a, b = weights(again), found.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(VprError, match="name a validation folder"):
        train(config, tmp_path / "other", weights_only=True)
    drives = np.array([drive.endswith("0") for drive in samples.drives])
    one_drive = samples.select(drives)
    one_drive.name = "one drive"
    with pytest.raises(VprError, match="one drive has no query"):
        train(config, tmp_path / "other", validation=one_drive, weights_only=True)


def test_patience_counts_the_same_after_a_resume(folder, checkpoint, tmp_path, monkeypatch):
    config = settings(folder, checkpoint, epochs=9, patience=2, validate_every=2, keep="best", steps_per_epoch=1)
    config = changed(config, distillation=None)
    scripted(monkeypatch, [0.3, 0.5, 0.4, 0.9])
    whole = train(config, tmp_path / "whole", validation=elsewhere(folder), weights_only=True)
    scripted(monkeypatch, [0.3, 0.5, 0.4, 0.9])
    step = MetricLearning.training_step

    def cut(self, batch, index):
        if self.global_step == 3:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, tmp_path / "parts", validation=elsewhere(folder), weights_only=True)
    monkeypatch.setattr(MetricLearning, "training_step", step)
    parts = train(config, tmp_path / "parts", validation=elsewhere(folder), weights_only=True)
    counts = [[row["epoch"] for row in rows_of(tmp_path / name)] for name in ("whole", "parts")]
    assert counts[0] == counts[1] == list("01234")
    a, b = weights(whole), weights(parts)
    assert all(torch.equal(a[name], b[name]) for name in a)


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
        weight=0.5,
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
        build_student(changed(config, student="minkloc++", options=TEACHER))


def test_the_picture_of_a_run(folder, checkpoint, tmp_path):
    rows = [{"epoch": 1, "loss": 2.0, "rkd_angle": 0.1, "batch_recall": 0.5, "learning_rate": 0.1, "seconds": 1.0}]
    rows.append({**rows[0], "epoch": 2, "all": 0.7})
    draw_curves(rows, tmp_path / "curves.png")
    drawn = cv2.imread(str(tmp_path / "curves.png"))
    assert drawn.std() > 5
    draw_curves([{"epoch": 0, "all": 0.6, "teacher": 0.3, "seconds": 1.0}, *rows], tmp_path / "started.png")
    started = cv2.imread(str(tmp_path / "started.png"))
    third = drawn.shape[1] // 3
    assert (started != drawn)[:, -third:].any(), "the start and its teacher are lines among the recalls"
    left = [(picture < 128).sum() for picture in (drawn[:, :third], started[:, :third])]
    assert left[0] == pytest.approx(left[1], rel=0.05), "epoch 0 has no loss"


def test_weights_of_terms_are_checked_and_used():
    config = DistillationConfig(loss="rkd", head="none", weights={"rkd_angle": 0.0}, scale=3.0)
    x, t = torch.randn(6, 8, requires_grad=True), torch.randn(6, 4)
    total, terms = Distillation(config, 8, 4).weigh(x, x, t)
    assert total.item() == pytest.approx(3 * DISTILLATION_WEIGHTS["rkd"]["rkd_distance"] * terms["rkd_distance"].item())
    with pytest.raises(VprError, match="equal widths"):
        Distillation(DistillationConfig(loss="feature-mse", head="none"), 8, 4)
    assert isinstance(Distillation(DistillationConfig(loss="feature-mse"), 8, 4).head, nn.Linear)


def test_only_losses_of_equal_widths_need_the_head():
    """Joined losses: cross terms see the head's output, self terms the descriptor itself."""
    config = DistillationConfig(loss="distilvpr-s + distilvpr-c", head_for="widths")
    distilling = Distillation(config, 8, 4)
    x, t = torch.randn(6, 8), torch.randn(6, 4)
    headed = distilling.head(x)
    total, terms = distilling.weigh(x, headed, t)
    assert headed.shape == (6, 4)
    alone = self_terms(x, t) | cross_terms(headed, t)
    assert terms.keys() == alone.keys()
    assert all(terms[name].item() == pytest.approx(alone[name].item()) for name in alone)
    weights = {**DISTILLATION_WEIGHTS["distilvpr-s"], **DISTILLATION_WEIGHTS["distilvpr-c"]}
    assert total.item() == pytest.approx(sum(weights[name] * alone[name].item() for name in alone), rel=1e-5)
    relational = Distillation(DistillationConfig(loss="distilvpr-s", head_for="widths"), 8, 4)
    assert isinstance(relational.head, nn.Identity)


@pytest.mark.parametrize(
    "change, distil, words",
    [
        ({}, {"teacher": "minkloc"}, "distillation: teacher"),
        ({}, {"loss": "huber"}, "distillation: loss"),
        ({}, {"head": "conv"}, "distillation: head"),
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
        ({"jitter": ImageAugmentConfig(), "images": AugmentConfig(grey=0.0)}, {}, "in place of augment"),
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
        check(changed(TrainConfig(), train=("x",), loss="none"))


def test_the_section_is_read_from_yaml(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("data: {train: [a]}\ndistillation: {teacher: adafusion, loss: rkd, weights: {rkd_angle: 0}}\n")
    config = read_config(path)
    assert config.distillation == DistillationConfig(teacher="adafusion", loss="rkd", weights={"rkd_angle": 0})
    path.write_text("data: {train: [a]}\ndistillation: {loss: rkd, weights: {rkd_angle: 1e-1}}\n")
    assert read_config(path).distillation == DistillationConfig(loss="rkd", weights={"rkd_angle": 0.1})
    path.write_text("data: {train: [a]}\ndistillation:\n")
    assert read_config(path).distillation is None
    path.write_text("data: {train: [a]}\ndistillation: rkd\n")
    with pytest.raises(VprError, match="must hold"):
        read_config(path)
    path.write_text("data: {train: [a]}\ndistillation: {speed: 1}\n")
    with pytest.raises(VprError, match="unknown key speed"):
        read_config(path)


def test_the_commands_start_the_same_run(folder, checkpoint, tmp_path):
    config = settings(folder, checkpoint, distil={"checkpoint": "nowhere"}, epochs=1, steps_per_epoch=1)
    config = changed(config, train=("nowhere",), projection_dim=8)
    written, plain = tmp_path / "run.yaml", tmp_path / "plain.yaml"
    raw = json.loads(json.dumps(dataclasses.asdict(config)))
    written.write_text(yaml.safe_dump(raw))
    plain.write_text(yaml.safe_dump(raw | {"distillation": None}))

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
        read_checkpoint(tmp_path / "b" / "student.safetensors").metadata["provenance"]["config"]["model"]["start"]
        == taught.name
    )
    code, said = run("distill", plain, "-o", tmp_path / "c")
    assert code == 2 and "has no `distillation` section" in said
    assert "has no `start`" in run("finetune", plain, "-o", tmp_path / "c")[1]
    assert "no training set" in run("distill", written, "-o", tmp_path / "c", "--teacher", checkpoint)[1]
    assert run("distill", written, "-o", tmp_path / "d", "--train", folder)[0] == 2


@pytest.mark.parametrize("name", ["distill", "distilvpr"])
def test_the_shipped_configurations_build(name):
    config = read_config(Path(__file__).parents[3] / "config" / "training" / f"{name}.yaml")
    config = changed(config, start="")
    assert (
        config.distillation is not None and width_of(build_student(config)) == {"distill": 1344, "distilvpr": 384}[name]
    )
    Distillation(config.distillation, width_of(build_student(config)), 384)
    if name == "distilvpr":
        optimisation = config.optimisation
        assert (optimisation.learning_rate, optimisation.epochs, optimisation.milestones) == (1e-4, 60, (40,))
        assert (
            config.data.batch_size == 128 and config.task.weight == 0.5 and config.distillation.teacher_view == "frozen"
        )
