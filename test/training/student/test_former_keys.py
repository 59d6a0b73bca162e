"""Configurations without groups: files get a sentence that names each key's place, run folders go on."""

import dataclasses
import json

import pytest
import torch
from run_settings import changed
from typer.testing import CliRunner

from vpr_ros.cli.app import app
from vpr_ros.errors import VprError
from vpr_ros.student import read_checkpoint
from vpr_ros.training.common.former_keys import STUDENT_KEYS, TEACHER_KEYS
from vpr_ros.training.student.config import TrainConfig, read_config
from vpr_ros.training.student.train import train
from vpr_ros.training.teacher.config import TeacherConfig, read_teacher_config

# Settings that came after the groups: no file could name them otherwise.
NEWER = {
    "model.trained_blocks",
    "data.unlabelled_share",
    *(f"export.{name}" for name in ("global_dim", "global_whiten", "cell_dim", "cell_whiten")),
    *(f"export.{name}" for name in ("projection", "keep_worse")),
}
NEWER_OF_TEACHERS = {"optimisation.keep"}


@pytest.mark.parametrize(
    "config, former, newer",
    [(TrainConfig(), STUDENT_KEYS, NEWER), (TeacherConfig(), TEACHER_KEYS, NEWER_OF_TEACHERS)],
    ids=["student", "teacher"],
)
def test_every_setting_has_one_former_key(config, former, newer):
    groups = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    paths = [
        f"{name}.{field.name}" for name, group in groups.items() if group for field in dataclasses.fields(group)
    ] + [name for name, group in groups.items() if group is None]
    assert sorted(former.values()) == sorted(set(paths) - newer)


@pytest.mark.parametrize(
    "text, sentence",
    [
        (
            "learning_rate: 1e-3\n",
            "'learning_rate' now stands under optimisation: write 'optimisation: {learning_rate: …}'",
        ),
        ("task_weight: 0.5\n", "'task_weight' now stands under task: write 'task: {weight: …}'"),
        ("distil: {loss: rkd}\n", "'distil' is now called 'distillation'"),
        (
            "train: [a]\nvalidation: [b]\nepochs: 3\ndistil: {loss: rkd}\n",
            "the keys 'train', 'validation', 'epochs', 'distil' now stand in groups: write "
            "'data: {train: …, validation: …}', 'optimisation: {epochs: …}', 'distillation: …'",
        ),
        ("data: {train: [a]}\nseed: 2\n", "'seed' now stands under optimisation: write 'optimisation: {seed: …}'"),
    ],
)
def test_a_file_without_groups_gets_a_sentence(tmp_path, text, sentence):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(VprError) as caught:
        read_config(path)
    assert str(caught.value) == f"{path}: {sentence}"
    result = CliRunner().invoke(app, ["train", "student", str(path), "-o", str(tmp_path / "run")])
    assert result.exit_code == 2 and "now" in result.output


def test_a_teachers_file_without_groups_gets_a_sentence(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("teacher: minkloc++\ncloud_augment: {jitter: 0.1}\n")
    with pytest.raises(VprError, match=r"write 'model: \{teacher: …\}', 'augmentation: \{clouds: …\}'"):
        read_teacher_config(path)


def without_groups(config):
    """The plain values of a configuration under its former keys."""
    groups = json.loads(json.dumps(dataclasses.asdict(config)))
    parts = {key: path.partition(".") for key, path in STUDENT_KEYS.items()}
    return {key: groups[group][name] if name else groups[group] for key, (group, _, name) in parts.items()}


def test_a_run_folder_without_groups_goes_on(folder, tmp_path):
    config = changed(
        TrainConfig(),
        train=(str(folder),),
        epochs=2,
        steps_per_epoch=2,
        places_per_batch=4,
        images_per_place=2,
        image_sizes=(28,),
        accelerator="cpu",
        threads=1,
    )
    whole = train(config, tmp_path / "whole", weights_only=True)
    out = tmp_path / "parts"
    train(config, out, weights_only=True)
    written, grouped = out / "config.json", (out / "config.json").read_text()
    former = without_groups(config)
    for stored in (former, {key: value for key, value in former.items() if key != "redraw"}):
        written.write_text(json.dumps(stored))
        again = train(config, out, weights_only=True)
        assert written.read_text() == grouped, "the folder's configuration is written anew, in groups"
        a, b = (read_checkpoint(path).model.state_dict() for path in (whole, again))
        assert all(torch.equal(a[name], b[name]) for name in a)
    written.write_text(json.dumps(former | {"seed": 5}))
    with pytest.raises(VprError, match="another configuration"):
        train(config, out, weights_only=True)
