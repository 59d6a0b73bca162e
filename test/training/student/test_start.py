"""Runs know their start: it is measured, counts, keeps its projection where no other helps, and is never replaced by a
worse one unasked."""

import dataclasses
import json
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml
from command_line import run
from distil_runs import rows_of, samples_of, saved_teacher, settings, weights
from run_settings import changed

from vpr_ros.errors import VprError
from vpr_ros.student import read_checkpoint, save_checkpoint
from vpr_ros.student.projection import fit_projection
from vpr_ros.training.common.run_folder import open_run_folder
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.export.runtime_checkpoint import export_student
from vpr_ros.training.student import train as engine
from vpr_ros.training.student.config import DistillationConfig, TrainConfig
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.networks import build_student
from vpr_ros.training.student.sources import read_trained
from vpr_ros.training.student.train import train
from vpr_ros.training.teachers import Teacher, TeacherInputs, load_teacher

NOISE = 60  # of the dark pictures, in grey values
OPTIONS = {"adapter_width": 0, "depth": 2, "taps": [1, 2], "stem": "patch", "width": 32, "dim": 16, "heads": 2}
RUIN = {"learning_rate": 1.0, "clip": 0.0, "schedule": "constant", "warmup_fraction": 0.0}


@pytest.fixture(scope="module")
def folder(places_with_clouds):
    return places_with_clouds


@pytest.fixture(scope="module")
def east(folder, tmp_path_factory):
    """The same streets under other names, as if they were of other cities, in the dark on the second drive: 24
    queries."""
    copy, rng = tmp_path_factory.mktemp("sets") / "east", np.random.default_rng(4)
    shutil.copytree(folder, copy)
    for path in sorted([*copy.glob("a1*.png"), *copy.glob("b1*.png")]):
        dark = 0.4 * cv2.imread(str(path)).astype(float)
        cv2.imwrite(str(path), np.clip(dark + rng.normal(0, NOISE, dark.shape), 0, 255).astype(np.uint8))
    frames = (copy / "frames.csv").read_text()
    (copy / "frames.csv").write_text(re.sub(r",([ab])(\d),\1,", r",other \1\2,other \1,", frames))
    return copy


@pytest.fixture(scope="module")
def start(folder, tmp_path_factory):
    """An untrained student with a projection of its own to 12 numbers."""
    student = build_student(changed(TrainConfig(), seed=5, options=OPTIONS)).eval()
    path = tmp_path_factory.mktemp("start") / "first.safetensors"
    save_checkpoint(path, student, fit_projection(embed(student, samples_of(folder)), 12))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved_teacher(tmp_path_factory.mktemp("teacher"))


def configured(folder, east, start="", **changes):
    config = settings(folder, "", validation=(str(east),), start=str(start), validate_every=1, projection_dim=12)
    return changed(config, **{"distillation": None, "image_sizes": (), "options": OPTIONS, **changes})


def recall_of(model, samples, projection=None):
    """Recall@1 within 10 m, by loops: the first drive of a city is the map of the other one."""
    found = embed(model, samples)
    found = found if projection is None else projection.apply(found)
    right = []
    for i in range(len(samples)):
        here = [j for j in range(len(samples)) if samples.areas[j] == samples.areas[i]]
        first = min(samples.drives[j] for j in here)
        base = [j for j in here if samples.drives[j] == first]
        gaps = [np.linalg.norm(samples.positions_m[j] - samples.positions_m[i]) for j in base]
        if samples.drives[i] != first and min(gaps) <= 10:
            right.append(gaps[int(np.argmin([np.linalg.norm(found[j] - found[i]) for j in base]))] <= 10)
    return np.mean(right)


def test_step_0_is_measured_by_the_network_and_as_a_robot_runs_it(folder, east, start, tmp_path):
    found, poor = read_checkpoint(start), tmp_path / "poor.safetensors"
    two = fit_projection(np.random.default_rng(0).normal(size=(60, found.model.config.descriptor_dim)), 2)
    save_checkpoint(poor, found.model, two)
    path = train(configured(folder, east, poor), tmp_path / "run")
    before, first, last = rows_of(tmp_path / "run")
    assert [row["epoch"] for row in (before, first, last)] == ["0", "1", "2"] and not before["loss"]
    raw, projected = recall_of(found.model, samples_of(east)), recall_of(found.model, samples_of(east), two)
    assert raw > projected
    assert float(before["all"]) == float(before["summer/day"]) == pytest.approx(raw, abs=1e-4)
    assert float(before["with_projection"]) == pytest.approx(projected, abs=1e-4) and not first["with_projection"]
    written = read_checkpoint(path)
    recalls = written.metadata["provenance"]["recalls"]
    assert recalls["start"]["all"] == pytest.approx(projected)
    assert recalls["start without projection"]["all"] == pytest.approx(raw)
    assert recalls["result"] == written.metadata["provenance"]["validation"]
    result = recall_of(written.model, samples_of(east), written.projection)
    assert recalls["result"]["all"] == pytest.approx(result, abs=1 / 24), "but for half precision"


def test_a_result_that_is_worse_than_its_start_is_written_when_asked_for_alone(folder, east, start, tmp_path):
    out, written = tmp_path / "run", tmp_path / "run.yaml"
    config = configured(folder, east, start, **RUIN)
    written.write_text(yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(config)))))
    result = run("train", "finetune", written, "-o", out)
    said = " ".join(result.stderr.split())
    assert result.exit_code == 2 and "Traceback" not in said
    told = re.search(
        r"error: the trained student recognises (0\.\d{3}) of east's queries, the start 1\.000 \((-0\.\d{3}), "
        r"95 % interval \[(-\d\.\d{3}), (-0\.\d{3})\] over 10 stretches of 50 m\): nothing was written; --keep-worse "
        r"writes it, last\.ckpt holds the weights$",
        said,
    )
    assert told, said
    recall, difference, low, high = map(float, told.groups())
    assert difference == pytest.approx(recall - 1) and -1 <= low < difference < high
    assert not (out / "student.safetensors").exists() and (out / "curves.png").exists()
    assert len(rows_of(out)) == 3 and (out / "last.ckpt").exists()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricLearning, "training_step", lambda *_: pytest.fail("nothing is trained again"))
        result = run("train", "finetune", written, "-o", out, "--keep-worse")
    assert result.exit_code == 0, result.output
    assert f"recognises {recall:.3f} of east's queries, the start 1.000" in " ".join(result.stdout.split())
    provenance = read_checkpoint(out / "student.safetensors").metadata["provenance"]
    assert provenance["recalls"]["result"]["all"] == pytest.approx(recall, abs=1e-3)
    assert provenance["recalls"]["start"]["all"] == 1.0
    result = run("export", out, "-o", tmp_path / "again.safetensors")
    assert result.exit_code == 0 and f"recognises {recall:.3f} of east's" in " ".join(result.stdout.split())
    again = read_checkpoint(tmp_path / "again.safetensors").metadata
    assert again["fingerprint"] == read_checkpoint(out / "student.safetensors").metadata["fingerprint"]


def test_weights_alone_are_refused_by_the_same_rule(folder, east, tmp_path):
    config = configured(folder, east, **RUIN)
    with pytest.raises(VprError, match=r"the start \d\.\d{3} .*nothing was written"):
        train(config, tmp_path / "run", weights_only=True)
    assert not (tmp_path / "run" / "student.safetensors").exists()
    path = train(changed(config, keep_worse=True), tmp_path / "run", weights_only=True)
    assert set(read_checkpoint(path).metadata["provenance"]["recalls"]) == {"start", "result"}


def test_the_start_is_kept_where_no_epoch_is_better(folder, east, start, tmp_path):
    told = []
    config = configured(folder, east, start, keep="best", patience=2, epochs=5, **RUIN)
    path = train(config, tmp_path / "run", tell=told.append)
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == ["0", "1", "2"], "patience counts from the start"
    assert told[0] == "no epoch recognises more of east's queries than the start: its weights are kept"
    assert read_checkpoint(path).metadata["provenance"]["epoch"] == 0
    first, kept = read_checkpoint(start), read_checkpoint(path)
    a, b = first.model.state_dict(), kept.model.state_dict()
    assert all(torch.equal(a[name].half(), b[name].half()) for name in a)
    assert np.allclose(first.projection.matrix, kept.projection.matrix, rtol=2e-3, atol=1e-6)
    assert read_trained(tmp_path / "run").provenance["epochs"] == 0


@pytest.mark.parametrize(
    "own, dim, kind, words",
    [
        ("good", 2, "kept", "the student's own, 12 numbers"),
        ("poor", 12, "fitted", "fitted on training frames, 12 numbers"),
        ("good", 12, "kept", "one fitted on training frames 1.000"),  # a tie
        ("poor", 13, "kept", "the student's own, 2 numbers"),  # 48 frames are too few
    ],
    ids=["hurts", "helps", "tie", "few frames"],
)
def test_a_projection_is_refitted_where_that_helps_alone(folder, east, start, tmp_path, own, dim, kind, words):
    first, told = read_checkpoint(start), []
    poor = fit_projection(np.random.default_rng(0).normal(size=(60, first.model.config.descriptor_dim)), 2)
    projection, elsewhere = {"good": first.projection, "poor": poor}[own], samples_of(east)
    elsewhere.headings_rad = None  # such a set is not calibrated on
    made = export_student(
        *(first.model, samples_of(folder), elsewhere, tmp_path / "x.safetensors", {}),
        dim=dim,
        whiten=0.5,
        own=projection,
        warn=told.append,
    )
    assert made.projection == kind and words in made.sentence
    assert made.recalls["kept"]["all"] == recall_of(first.model, samples_of(east), projection)
    few = "48 training frames are too few for 13 dimensions, 4 frames for each: the projection stays as it is."
    assert (few in told) == (dim == 13) == ("fitted" not in made.recalls)
    found = read_checkpoint(tmp_path / "x.safetensors")
    assert found.projection.dim == made.dim == (dim if kind == "fitted" else projection.dim)
    assert found.metadata["provenance"]["projection"]["kind"] == kind


def test_without_a_validation_set_a_projection_is_fitted_and_nothing_can_tell(folder, start, tmp_path, caplog):
    first = read_checkpoint(start)
    made = export_student(
        first.model, samples_of(folder), None, tmp_path / "x.safetensors", {}, dim=4, whiten=0.5, own=first.projection
    )
    assert made.projection == "fitted" and made.dim == 4
    train(changed(configured(folder, folder), validation=(), epochs=1), tmp_path / "run", weights_only=True)
    warned = [record.getMessage() for record in caplog.records]
    assert "there is no validation set: nothing can tell whether the result is better than the start" in warned
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == ["1"]


def test_a_teacher_that_is_below_the_student_is_told_before_the_first_step(
    folder, east, checkpoint, tmp_path, caplog, monkeypatch
):
    step, warned_before = MetricLearning.training_step, []

    def watch(self, batch, index):
        warned_before.append([record.getMessage() for record in caplog.records])
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", watch)
    section = DistillationConfig(checkpoint=str(checkpoint), loss="rkd", sparse="torch")
    config = configured(folder, east, distillation=section, epochs=1, keep_worse=True)
    some = samples_of(east)
    some.table.clouds[1::5] = [None] * len(some.table.clouds[1::5])
    path = train(config, tmp_path / "run", validation=some, weights_only=True)
    seen = some.select([row for row in range(48) if row % 5 != 1])
    teacher = load_teacher("minkloc++", checkpoint, sparse="torch")
    taught, before = recall_of(teacher, seen), recall_of(build_student(config), seen)
    assert taught < before
    sentence = f"the teacher recognises {taught:.3f} of east's queries, the student {before:.3f} before its first step"
    assert [text for text in warned_before[0] if text.startswith(sentence)]
    assert float(rows_of(tmp_path / "run")[0]["teacher"]) == pytest.approx(taught, abs=1e-4)
    assert read_checkpoint(path).metadata["provenance"]["recalls"]["teacher"]["all"] == taught


class Thumbnails(Teacher):
    """Small pictures of one brightness and contrast."""

    def __init__(self):
        super().__init__(TeacherInputs(image_size=(8, 12)), 3 * 8 * 12)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def heads(self, images=None, clouds=None, voxels=None):
        x = images.flatten(1)
        return {"final": self.scale * (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)}


def test_a_teacher_that_is_no_worse_stands_in_the_log_without_a_warning(folder, east, tmp_path, caplog):
    config = configured(folder, east, distillation=DistillationConfig(loss="rkd"), epochs=1, keep_worse=True)
    train(config, tmp_path / "run", teacher=Thumbnails(), weights_only=True)
    row = rows_of(tmp_path / "run")[0]
    assert float(row["teacher"]) >= float(row["all"]) > 0.9
    assert not [record for record in caplog.records if "the teacher recognises" in record.getMessage()]


def test_a_run_that_was_cut_off_knows_its_start_from_before(folder, east, start, checkpoint, tmp_path, monkeypatch):
    section = DistillationConfig(checkpoint=str(checkpoint), loss="rkd", sparse="torch")
    config = configured(folder, east, start, distillation=section, keep="best", keep_worse=True)
    measured, measure = [], engine.measure_start
    monkeypatch.setattr(engine, "measure_start", lambda *given: measured.append(1) or measure(*given))
    whole = train(config, tmp_path / "whole", weights_only=True)
    step = MetricLearning.training_step

    def cut(self, batch, index):
        if self.current_epoch == 1:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, tmp_path / "parts", weights_only=True)
    monkeypatch.setattr(MetricLearning, "training_step", step)
    parts = train(config, tmp_path / "parts", weights_only=True)
    assert len(measured) == 2, "once for each run"
    a, b = weights(whole), weights(parts)
    assert all(torch.equal(a[name], b[name]) for name in a)

    def drop(rows):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    rows = [drop(rows_of(out)) for out in (tmp_path / "whole", tmp_path / "parts")]
    assert rows[0] == rows[1] and [row["epoch"] for row in rows[0]] == list("012")
    facts = [read_checkpoint(path).metadata["provenance"] for path in (whole, parts)]
    assert facts[0]["recalls"] == facts[1]["recalls"] and facts[0]["epoch"] == facts[1]["epoch"]


def test_the_best_weights_of_before_the_first_step_do_not_hold_a_folder(folder, east, tmp_path, monkeypatch):
    config = configured(folder, east, keep="best")
    step = MetricLearning.training_step
    monkeypatch.setattr(MetricLearning, "training_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(config, tmp_path / "run", weights_only=True)
    assert (tmp_path / "run" / "best.ckpt").exists() and not (tmp_path / "run" / "last.ckpt").exists()
    monkeypatch.setattr(MetricLearning, "training_step", step)
    train(changed(config, keep="last", epochs=1, keep_worse=True), tmp_path / "run", weights_only=True)
    assert not (tmp_path / "run" / "best.ckpt").exists(), "it is of another configuration"
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "best.ckpt").write_text("somebody else's")
    open_run_folder(tmp_path / "foreign", config, True)
    assert (tmp_path / "foreign" / "best.ckpt").read_text() == "somebody else's"
