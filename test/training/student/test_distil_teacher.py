"""What a teacher sees of a distillation's samples: views, embeddings, their space, and samples that it cannot see."""

import numpy as np
import pytest
import torch
from distil_runs import TEACHER, rows_of, samples_of, saved_teacher, settings, weights
from run_settings import changed

from vpr_ros.errors import VprError
from vpr_ros.student import normalise
from vpr_ros.training.data.augment.clouds import CloudAugmentConfig
from vpr_ros.training.data.augment.images import AugmentConfig
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.student.config import DistillationConfig
from vpr_ros.training.student.frames import FrameBatches, TrainingFrames
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.teaching.distillation import Distillation
from vpr_ros.training.student.teaching.space import to_space
from vpr_ros.training.student.train import train
from vpr_ros.training.teachers import collate, load_teacher


@pytest.fixture(scope="module")
def folder(places_with_clouds):
    return places_with_clouds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved_teacher(tmp_path_factory.mktemp("teacher"))


def test_cached_embeddings_are_the_teachers_of_the_samples_as_they_lie(folder, checkpoint, tmp_path):
    train(settings(folder, checkpoint, epochs=1), tmp_path / "run", weights_only=True)
    expected = embed(load_teacher("minkloc++", checkpoint, sparse="torch"), samples_of(folder))
    assert np.allclose(np.load(tmp_path / "run" / "teacher.npy"), expected, atol=1e-6)


def test_torn_embeddings_are_computed_again(folder, checkpoint, tmp_path):
    config = settings(folder, checkpoint, epochs=1)
    train(config, tmp_path / "run", weights_only=True)
    kept = tmp_path / "run" / "teacher.npy"
    whole = kept.read_bytes()
    for torn in (whole[:300], whole[:20], b""):
        kept.write_bytes(torn)
        train(config, tmp_path / "run", weights_only=True)
        assert kept.read_bytes() == whole


def test_embeddings_that_were_handed_over_do_as_well(folder, checkpoint, tmp_path):
    samples = samples_of(folder)
    embeddings = embed(load_teacher("minkloc++", checkpoint, sparse="torch"), samples)
    config = settings(folder, checkpoint)
    a = train(config, tmp_path / "a", weights_only=True)
    b = train(changed(config, train=()), tmp_path / "b", samples=samples, teacher=embeddings, weights_only=True)
    assert all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))
    with pytest.raises(VprError, match=r"\(48, D\) is needed"):
        train(config, tmp_path / "c", samples=samples, teacher=embeddings[1:], weights_only=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_without_a_cloud_is_told_in_one_sentence(folder, checkpoint, tmp_path, workers):
    samples = samples_of(folder)
    samples.table.clouds[5] = None
    section = {"teacher_view": "online", "cloud_augment": CloudAugmentConfig(turn_per="batch")}
    config = settings(folder, checkpoint, distil=section, steps_per_epoch=9, workers=workers)
    with pytest.raises(VprError, match="has no cloud, which this teacher sees") as caught:
        train(config, tmp_path / "run", samples=samples, weights_only=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("view", ["cached", "frozen"])
def test_samples_without_a_cloud_are_learnt_by_the_task_alone(folder, checkpoint, tmp_path, caplog, view):
    blind, whole = samples_of(folder), samples_of(folder)
    unseen = np.arange(0, len(blind), 3)
    for row in unseen:
        blind.table.clouds[row] = None
    config = settings(folder, checkpoint, distil={"teacher_view": view, "teacher_space": "whitened"})
    path = train(config, tmp_path / "blind", samples=blind, weights_only=True)
    assert f"{len(unseen)} of {len(blind)} training samples have no cloud" in caplog.text
    kept = np.load(tmp_path / "blind" / "teacher.npy")
    assert np.isnan(kept[unseen]).all() and np.isfinite(np.delete(kept, unseen, 0)).all()
    train(config, tmp_path / "whole", samples=whole, weights_only=True)
    others = np.delete(np.load(tmp_path / "whole" / "teacher.npy"), unseen, 0)
    assert np.allclose(np.delete(kept, unseen, 0), others, atol=1e-4)
    assert all(torch.isfinite(value).all() for value in weights(path).values() if value.is_floating_point())
    assert {"task", "distil", "rkd_distance"} <= set(rows_of(tmp_path / "blind")[-1])


def test_a_batch_that_the_teacher_sees_in_part_has_the_losses_of_that_part():
    generator = torch.Generator().manual_seed(3)
    distilling = Distillation(DistillationConfig(loss="rkd", head="none"), 24, 16)
    x = torch.randn(8, 24, generator=generator, requires_grad=True)
    taught = torch.randn(8, 16, generator=generator)
    taught[[1, 4, 5]] = torch.nan
    rows, seen = [0, 2, 3, 6, 7], taught.isfinite().all(1)
    loss, terms = distilling.weigh(x, x, taught, seen)
    expected, by_name = distilling.weigh(x[rows], x[rows], taught[rows])
    assert loss == expected and terms == by_name and loss > 0
    (gradient,) = torch.autograd.grad(loss, x)
    assert (gradient[[1, 4, 5]] == 0).all() and (gradient[rows] != 0).any(1).all()
    believed = torch.rand(8, generator=generator) + 0.1
    weighed, _ = distilling.weigh(x, x, taught, seen, believed)
    assert weighed == distilling.weigh(x[rows], x[rows], taught[rows], weights=believed[rows])[0] != loss
    nothing, none = distilling.weigh(x, x, taught, torch.zeros(8, dtype=torch.bool))
    assert nothing == 0 and nothing.requires_grad and not none


@pytest.mark.parametrize("broken", ["one entry", "infinite", "all unseen"])
def test_handed_over_embeddings_that_are_not_finite_are_refused(folder, checkpoint, tmp_path, broken):
    taught = np.random.default_rng(0).normal(size=(48, 16)).astype(np.float32)
    taught[{"one entry": (3, 2), "infinite": 4, "all unseen": slice(None)}[broken]] = (
        np.inf if broken == "infinite" else np.nan
    )
    with pytest.raises(VprError, match="not finite: only whole rows of NaN"):
        train(
            settings(folder, checkpoint),
            tmp_path / "run",
            samples=samples_of(folder),
            teacher=taught,
            weights_only=True,
        )


def test_handed_over_rows_of_nan_are_samples_that_the_teacher_does_not_see(folder, checkpoint, tmp_path):
    samples = samples_of(folder)
    taught = embed(load_teacher("minkloc++", checkpoint, sparse="torch"), samples)
    unseen = np.arange(0, len(samples), 3)
    taught[unseen] = np.nan
    for row in unseen:
        samples.table.clouds[row] = None
    config = settings(folder, checkpoint)
    a = train(config, tmp_path / "a", samples=samples, teacher=taught, weights_only=True)
    b = train(config, tmp_path / "b", samples=samples, weights_only=True)
    assert all(torch.allclose(x, y, atol=1e-4) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


@pytest.mark.parametrize("view", ["cached", "online", "frozen"])
def test_a_teacher_that_breaks_is_not_taken_for_a_blind_one(folder, tmp_path, view):
    broken = load_teacher("minkloc++", sparse="torch", **TEACHER)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    config = settings(folder, "", distil={"teacher_view": view})
    with pytest.raises(VprError, match="not finite"):
        train(config, tmp_path / "run", teacher=broken, weights_only=True)


def test_a_set_without_any_cloud_cannot_be_taught_by_one_who_needs_them(folder, checkpoint, tmp_path):
    samples = samples_of(folder)
    samples.table.clouds[:] = [None] * len(samples)
    with pytest.raises(VprError, match="none of the 48 samples has one"):
        train(settings(folder, checkpoint), tmp_path / "run", samples=samples, weights_only=True)


@pytest.mark.parametrize("view", ["online", "frozen"])
def test_views_of_the_teacher(folder, checkpoint, tmp_path, monkeypatch, view):
    config = settings(folder, checkpoint, distil={"teacher_view": view}, ramp=(1.0, 1.0))
    seen, step = [], MetricLearning.training_step

    def watch(self, batch, index):
        seen.append((batch["row"].clone(), self._embeddings(batch, batch["row"]).clone()))
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", watch)
    a = train(config, tmp_path / "a", weights_only=True)
    first, seen[:] = list(seen), []
    b = train(config, tmp_path / "b", weights_only=True)
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


def test_spaces_of_a_teacher():
    x = np.random.default_rng(0).normal(3.0, [5.0, 1.0, 0.2], (400, 3))
    centred, whitened = to_space(x, "centred"), to_space(x, "whitened")
    assert to_space(x, "raw") is x
    for found in (centred, whitened):
        assert np.abs(found.mean(0)).max() < 1e-6
        assert np.linalg.norm(found, axis=1).mean() == pytest.approx(1.0)

    def gap(a, i, j):
        return np.linalg.norm(a[i] - a[j])

    assert gap(centred, 0, 1) / gap(centred, 2, 3) == pytest.approx(gap(x, 0, 1) / gap(x, 2, 3))
    spread = whitened.std(0)
    assert spread[0] / spread[1] == pytest.approx((x[:, 0].std() / x[:, 1].std()) ** 0.5, rel=0.1)
    assert not to_space(np.ones((4, 3)), "whitened").any()
    x[[2, 7]] = np.nan
    for space in ("centred", "whitened"):
        found = to_space(x, space)
        assert np.isnan(found[[2, 7]]).all()
        assert np.allclose(np.delete(found, [2, 7], 0), to_space(np.delete(x, [2, 7], 0), space))
