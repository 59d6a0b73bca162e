"""The training run: it learns, resumes to the same weights, ends in a runtime checkpoint, and refuses bad settings."""

import csv
import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
import yaml
from command_line import run
from run_settings import changed

from vpr_ros.cli.outcome.interrupts import take_signals
from vpr_ros.errors import VprError
from vpr_ros.student import read_checkpoint
from vpr_ros.training.common.run_folder import open_run_folder, without_folders
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.export import validation_drives
from vpr_ros.training.export.validation_drives import labelled_drives
from vpr_ros.training.student.config import TrainConfig, check, read_config
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.networks import build_student
from vpr_ros.training.student.train import train
from vpr_ros.training_set import read_frame_table


def settings(folder, **changes):
    tiny = changed(
        TrainConfig(),
        train=(str(folder),),
        epochs=2,
        steps_per_epoch=3,
        places_per_batch=4,
        images_per_place=2,
        image_sizes=(28,),
        projection_dim=16,
        accelerator="cpu",
        threads=1,
        ema_decay=0.9,
    )
    return changed(tiny, **changes)


def weights(path):
    return read_checkpoint(path).model.state_dict()


def test_a_run_that_was_cut_off_ends_with_the_same_weights(folder, tmp_path, monkeypatch):
    whole = train(settings(folder), tmp_path / "whole")
    step, seen = MetricLearning.training_step, []

    def cut(self, batch, index):
        if self.global_step == 4:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train(settings(folder), tmp_path / "parts")
    assert not (tmp_path / "parts" / "student.safetensors").exists()

    def watch(self, batch, index):
        seen.append(self.global_step)
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", watch)
    parts = train(settings(folder), tmp_path / "parts")
    assert seen == [3, 4, 5], "it must go on after the last whole epoch"
    a, b = weights(whole), weights(parts)
    assert all(torch.equal(a[name], b[name]) for name in a)
    starts = [p.name for p in (tmp_path / "parts" / "steps").iterdir()]
    assert sorted(starts) == ["version_0", "version_1"], "the first start's figures must not be overwritten"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_what_is_kept_and_the_same_command_goes_on(folder, tmp_path, monkeypatch, number):
    step, handlers = MetricLearning.training_step, {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    stop_at = 1

    def stopped(self, batch, index):
        if self.global_step == stop_at:
            os.kill(os.getpid(), number)
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", stopped)
    monkeypatch.setattr("vpr_ros.cli.outcome.interrupts._last", signal.SIGINT)
    arguments = ("train", "student", tmp_path / "run.yaml", "-o", tmp_path / "run")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(dataclasses.asdict(settings(folder))))
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        take_signals()
        result = run(*arguments)
        assert result.exit_code == 128 + number
        assert result.stderr.endswith(
            "interrupted: no epoch was complete, so nothing is kept; the same command begins again\n"
        )
        stop_at = 4
        result = run(*arguments)
        assert result.exit_code == 128 + number
        kept = tmp_path / "run" / "last.ckpt"
        assert result.stderr.endswith(
            f"interrupted: 1 of 2 epochs are kept in {kept}; the same command goes on from there\n"
        )
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "a second Ctrl-C must be heard"
        stop_at = -1
        result = run(*arguments)
        assert result.exit_code == 0 and [row["epoch"] for row in rows_of(tmp_path / "run")] == ["1", "2"]
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def rows_of(out):
    return list(csv.DictReader((out / "log.csv").read_text().splitlines()))


def test_every_epoch_draws_new_batches(folder, tmp_path, monkeypatch):
    step, rows = MetricLearning.training_step, []

    def watch(self, batch, index):
        rows.append(tuple(batch["row"].tolist()))
        return step(self, batch, index)

    monkeypatch.setattr(MetricLearning, "training_step", watch)
    train(settings(folder), tmp_path / "run")
    assert len(rows) == 6 and len(set(rows)) == 6


@pytest.mark.parametrize("loss", ["contrastive", "multi_similarity"])
def test_the_loss_falls(folder, tmp_path, monkeypatch, loss):
    step, losses = MetricLearning.training_step, []

    def watch(self, batch, index):
        value = step(self, batch, index)
        losses.append(float(value))
        return value

    monkeypatch.setattr(MetricLearning, "training_step", watch)
    train(
        settings(folder, epochs=1, steps_per_epoch=30, places_per_batch=8, loss=loss, ramp=(0.0, 0.0)), tmp_path / "run"
    )
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_the_checkpoint_carries_projection_calibration_and_provenance(folder, tmp_path):
    table = read_frame_table(folder)
    other, link = tmp_path / "validation", tmp_path / "link"
    shutil.copytree(folder, other)
    frames = (other / "frames.csv").read_text()
    with pytest.raises(VprError, match="180 of 180 validation frames are training frames"):
        train(settings(folder, validation=(str(other),)), tmp_path / "run")
    link.symlink_to(folder)
    with pytest.raises(VprError, match="validate on other cities"):
        check(settings(folder, validation=(str(link),)))
    (other / "frames.csv").write_text(frames.replace(",a", ",x").replace(",b", ",y"))
    path = train(settings(folder, validation=(str(other),)), tmp_path / "run")
    found = read_checkpoint(path)
    assert found.projection.dim == 16 and found.calibration_json["source"] == "checkpoint"
    provenance = found.metadata["provenance"]
    assert provenance["config"]["optimisation"]["seed"] == 1 and provenance["frames"] == len(table)
    assert set(provenance["validation"]) == {"summer/day", "all"}
    assert (tmp_path / "run" / "log.csv").read_text().startswith("epoch,loss")


def test_labelled_drives_leave_the_map(folder):
    table = TrainingSetSamples(folder)
    descriptors = np.eye(len(table), 32, dtype=np.float32)
    sequences = [sequence for sequence in labelled_drives(descriptors, table) if sequence.radius == 10.0]
    assert len(sequences) == 4 and all(len(sequence.truth) == 60 for sequence in sequences)
    assert [len(sequence.keyframes) for sequence in sequences] == [30, 20, 30, 20], "every other map ends early"
    for sequence in sequences:
        on = [len(rows) > 0 for rows in sequence.truth]
        assert sum(on) == 30 or 20 <= sum(on) < 28
        assert on == [True] * sum(on) + [False] * (60 - sum(on))
        stamps, way = np.diff(sequence.stamps_ns), np.diff(sequence.T_odom_base[:, :3, 3], axis=0)
        assert (stamps > 0).all()
        steps = np.linalg.norm(way, axis=1)
        assert 9.9 < steps[29] < 14, "no picture of another city may lie within a place of the map"
        assert np.delete(steps, 29).max() < 9
        speeds = steps / stamps
        assert speeds.max() < 1.05 * speeds.min(), "the odometry must not jump into the other city"
        assert sequence.known[:30].all()
        unknown = np.flatnonzero(~sequence.known)
        way_m = np.r_[0.0, np.cumsum(steps)] - np.cumsum(np.r_[0.0, steps])[sum(on) - 1]
        assert (way_m[unknown] <= 30.0).all() and (way_m[30:][sequence.known[30:]] > 30.0).all()


def test_labelled_drives_search_maps_of_one_to_several_cities(folder, tmp_path):
    for number, (first, second) in enumerate(("ab", "cd", "ef", "gh")):
        shutil.copytree(folder, tmp_path / str(number))
        frames = tmp_path / str(number) / "frames.csv"
        frames.write_text(frames.read_text().replace(",a", f",{first}").replace(",b", f",{second}"))
    table = TrainingSetSamples(*(tmp_path / str(number) for number in range(4)))
    descriptors = np.random.default_rng(0).normal(size=(len(table), 32)).astype(np.float32)
    sequences = [sequence for sequence in labelled_drives(descriptors, table) if sequence.radius == 10.0]
    assert len(sequences) == 16
    cities = [len(set(sequence.keyframes.sessions)) for sequence in sequences]
    assert cities == [n for n in (1, 2, 3, 4, 1, 2, 3, 4) for _ in range(2)]
    for sequence in sequences:
        frames = sequence.keyframes
        starts = np.unique(frames.sessions, return_index=True)[1]
        apart = np.linalg.norm(
            frames.T_map_base[starts, :3, 3][:, None] - frames.T_map_base[starts, :3, 3][None], axis=2
        )
        assert (apart + 1e9 * np.eye(len(starts))).min() > 1e4, "cities of one map must not overlap"
        assert [len(rows) > 0 for rows in sequence.truth][-90:] == [False] * 90 and len(sequence.truth) == 120
        assert all((frames.sessions[rows] == 1).all() for rows in sequence.truth)


def test_drives_without_poses_have_the_same_places(folder):
    table = TrainingSetSamples(folder)
    descriptors = np.random.default_rng(0).normal(size=(len(table), 32)).astype(np.float32)
    posed = next(sequence for sequence in labelled_drives(descriptors, table) if sequence.radius == 10.0)
    for every in (1, 2):
        drive = validation_drives.without_poses(posed, every)
        assert drive.T_odom_base is None and not np.isfinite(drive.keyframes.T_map_base).any()
        np.testing.assert_array_equal(drive.keyframes.ids, posed.keyframes.ids[::every])
        np.testing.assert_array_equal(drive.descriptors, posed.descriptors[::every])
        for q, rows in enumerate(drive.truth):
            before = set(posed.keyframes.ids[posed.truth[q * every]])
            found = drive.keyframes.ids[rows]
            assert bool(len(rows)) == bool(before & set(drive.keyframes.ids.tolist()))
            assert not len(rows) or (len(rows) <= 5 and (np.diff(found) == every).all() and before & set(found))


def test_of_three_drives_two_are_asked_of_a_map_without_poses_too(folder):
    table = TrainingSetSamples(folder)
    sequences = labelled_drives(np.eye(len(table), 32, dtype=np.float32), table)
    unposed = [sequence.T_odom_base is None for sequence in sequences]
    assert unposed == [False, True, False, True, False, False, True]
    assert [len(s.truth) for s in sequences] == [60, 60, 60, 30, 60, 60, 60], "the second has every second picture"


def test_more_drives_than_a_fit_takes_are_left_out_by_lot(folder, monkeypatch):
    table = TrainingSetSamples(folder)
    descriptors = np.random.default_rng(0).normal(size=(len(table), 32)).astype(np.float32)
    every = labelled_drives(descriptors, table)
    monkeypatch.setattr(validation_drives, "MOST_QUERIES", 150)
    some = labelled_drives(descriptors, table)
    assert 0 < sum(len(one.truth) for one in some) <= 150 and len(some) < len(every)


def test_places_of_rendered_corridors_are_smaller(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "corridor")
    frames = tmp_path / "corridor" / "frames.csv"
    frames.write_text(frames.read_text().replace(",a", ",301000").replace(",b", ",301001"))
    table = TrainingSetSamples(tmp_path / "corridor", folder)
    descriptors = np.random.default_rng(0).normal(size=(len(table), 32)).astype(np.float32)
    radii = {sequence.radius for sequence in labelled_drives(descriptors, table)}
    assert radii == {10.0, 1.0, validation_drives.PLACE_RADIUS_FRAMES}


def test_a_folder_of_another_run_is_refused(folder, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"architectures": ["a model of somebody else"]}')
    with pytest.raises(VprError, match="another configuration"):
        open_run_folder(foreign, settings(folder), True)
    out = tmp_path / "run"
    open_run_folder(out, settings(folder, start="misspelt"), True)
    written = open_run_folder(out, settings(folder), True)
    assert written["model"]["start"] == "", "nothing was trained yet: the configuration is corrected"
    (out / "last.ckpt").write_text("an epoch")
    open_run_folder(out, settings(folder), True)
    with pytest.raises(VprError, match="another configuration"):
        open_run_folder(out, settings(folder, seed=2), True)
    open_run_folder(out, settings(folder, seed=2), False)
    assert not (out / "last.ckpt").exists(), "the next resume would go on with the other run's epoch"
    (tmp_path / "file").write_text("")
    with pytest.raises(VprError, match="cannot be made: File exists"):
        open_run_folder(tmp_path / "file", settings(folder), True)


def test_no_path_of_the_training_machine_is_told():
    config = {
        "train": ["/data/town", "set"],
        "options": {"imagenet": "../w/resnet.pth", "dim": 8},
        "start": "",
        "distil": {"checkpoint": "/a/b.pth", "options": {"dinov2": "/c/d.pth"}},
        "precision": "32-true",
    }
    assert without_folders(config) == {
        "train": ["town", "set"],
        "options": {"imagenet": "resnet.pth", "dim": 8},
        "start": "",
        "distil": {"checkpoint": "b.pth", "options": {"dinov2": "d.pth"}},
        "precision": "32-true",
    }
    assert (
        json.dumps(without_folders(dataclasses.asdict(changed(TrainConfig(), train=("/data/town",))))).count("/") == 0
    )


def test_frames_without_a_pair_and_machines_without_a_gpu_are_told(folder, tmp_path):
    samples = TrainingSetSamples(folder)
    alone = samples.select((samples.drives == "a0") | (samples.drives == "b0"))
    with pytest.raises(VprError, match="none of the 60 samples is known to lie within 3 m of another"):
        train(settings(folder), tmp_path / "run", samples=alone, weights_only=True)
    with pytest.raises(VprError, match="accelerator 'hamster'.* does not work here"):
        train(settings(folder, accelerator="hamster"), tmp_path / "run", weights_only=True)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"train": ()}, "at least one"),
        ({"images_per_place": 1}, "no positive pair"),
        ({"places_per_batch": 1}, "no negative"),
        ({"negative_m": 1.0}, "no pair can be both"),
        ({"image_sizes": (30,)}, "divide by 14"),
        ({"epochs": 0}, "1 or more"),
        ({"validation": ("x",), "train": ("x",)}, "other cities"),
    ],
)
def test_settings_that_cannot_work_are_told(folder, change, words):
    with pytest.raises(VprError, match=words):
        check(settings(folder, **change))


@pytest.mark.parametrize(
    "text, words",
    [
        ("data: {train: [a]}\nspeed: 3\n", "unknown key speed"),
        ("data: {train: [a], speed: 3}\n", "data: unknown key speed"),
        ("optimisation: {epochs: many}\n", "optimisation: epochs must be int"),
        ("optimisation: {epochs: 1.5}\n", "epochs must be int, not 1.5"),
        ("optimisation: {epochs: true}\n", "epochs must be int, not True"),
        ("model: {start: }\n", "start has no value"),
        ("data: {train: }\n", "train has no value"),
        ("data: {train: {a: 1}}\n", "train must be a list"),
        ("augmentation: {ramp: 0.5}\n", "ramp must be a list of 2"),
        ("model: {options: abc}\n", "options must be `key: value` lines"),
        ("data: [a\n", "not valid YAML"),
        ("- a\n", "key: value"),
        ("augmentation: {images: {fog: 1}}\n", "unknown key fog"),
    ],
)
def test_a_bad_configuration_file_is_told_in_one_sentence(tmp_path, text, words):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(VprError, match=words) as caught:
        read_config(path)
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(VprError, match="is no text"):
        read_config(path)
    assert "\n" not in str(caught.value)


def test_a_configuration_file_is_read_with_overrides(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "data: {train: [a, b]}\noptimisation: {learning_rate: 1e-3}\n"
        "augmentation: {ramp: [0, 1], images: {grey: 0.5}}\n"
    )
    config = read_config(path, {"optimisation.epochs": 7, "task.loss": None})
    assert config.data.train == ("a", "b")
    assert config.optimisation.learning_rate == 1e-3 and config.optimisation.epochs == 7
    assert config.augmentation.images.grey == 0.5 and config.task.loss == "contrastive"
    with pytest.raises(VprError, match="cannot read"):
        read_config(tmp_path / "none.yaml")


def test_an_unknown_student_is_told(folder):
    with pytest.raises(VprError, match="huge"):
        build_student(settings(folder, student="huge"))
    with pytest.raises(VprError, match="no student can be made of"):
        build_student(settings(folder, options={"dim": "big"}))
