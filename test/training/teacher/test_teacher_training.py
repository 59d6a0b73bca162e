"""Training of teachers: it learns, its batch grows, real kills change nothing, the result loads, bad input is told."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from run_settings import changed

from vpr_ros.errors import VprError
from vpr_ros.training.data.augment.clouds import CLOUD_AUGMENTS
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.losses.triplet import batch_hard_triplet
from vpr_ros.training.teacher.branches import AdaFusionBranch
from vpr_ros.training.teacher.build import build_teacher
from vpr_ros.training.teacher.config import TeacherConfig, TeacherDataConfig, check, read_teacher_config
from vpr_ros.training.teacher.module import TeacherTraining, next_batch_size
from vpr_ros.training.teacher.train import folder_samples, train_teacher
from vpr_ros.training.teacher.tuples import TeacherTuples
from vpr_ros.training.teachers import load_teacher

GRID = {"lower": [-10.0, -10.0, -2.0], "upper": [10.0, 10.0, 6.0], "shape": [8, 8, 8], "turned": False}
MINKLOC = {
    "cloud_dim": 8,
    "image_dim": 8,
    "voxel_size": 1.0,
    "cloud_planes": [4, 4, 4],
    "image_size": [16, 24],
    "image_planes": [4, 4, 8],
}
ADAFUSION = {"image_size": [16, 16], "image_planes": [4, 4], "cloud_planes": [8, 8, 8], "grid": GRID}


@pytest.fixture(scope="module")
def folder(places_with_clouds):
    return places_with_clouds


def settings(folder, **changes):
    tiny = changed(
        TeacherConfig(),
        options=MINKLOC,
        train=(str(folder),),
        epochs=3,
        milestones=(2,),
        batch_size=8,
        batch_limit=16,
        threads=1,
        accelerator="cpu",
        sparse="torch",
    )
    return check(changed(tiny, **changes))


def state(path, name="minkloc++"):
    return load_teacher(name, path, sparse="torch").state_dict()


CHILD = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from vpr_ros.training.common import checkpoint_io as whole_checkpoint
from vpr_ros.training.teacher.config import read_teacher_config
from vpr_ros.training.teacher.module import TeacherTraining
from vpr_ros.training.teacher.train import train_teacher

config, out, where, number = sys.argv[1:]
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if where == "step":
    step = TeacherTraining.training_step
    def cut(self, batch, index):
        if self.global_step == int(number):
            die()
        return step(self, batch, index)
    TeacherTraining.training_step = cut
else:  # half of the checkpoint's bytes have reached the disk
    save, count = torch.save, [0]
    def cut(value, stream):
        count[0] += 1
        if count[0] < int(number):
            return save(value, stream)
        import io
        whole = io.BytesIO()
        save(value, whole)
        stream.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        stream.flush()
        die()
    whole_checkpoint.torch.save = cut
train_teacher(read_teacher_config(config), out)
"""


def test_an_interrupt_says_what_is_kept_and_leaves_the_signal_heard(folder, tmp_path, monkeypatch):
    step, before = TeacherTraining.training_step, signal.getsignal(signal.SIGINT)

    def stopped(self, batch, index):
        if self.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, index)

    monkeypatch.setattr(TeacherTraining, "training_step", stopped)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(
            KeyboardInterrupt, match=r"^1 of \d+ epochs are kept in .*last\.ckpt; the same command goes on"
        ):
            train_teacher(settings(folder), tmp_path / "run")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == ["1"]


def test_kills_within_an_epoch_and_within_a_checkpoint_change_nothing(folder, tmp_path):
    # the batch grows after every epoch but the first, which has another loss
    config = settings(folder, batch_threshold=1.1, warmup_epochs=1)
    whole = train_teacher(config, tmp_path / "whole")
    written = tmp_path / "run.yaml"
    written.write_text(yaml.safe_dump(json.loads((tmp_path / "whole" / "config.json").read_text())))
    out = tmp_path / "parts"

    def run(where, number):
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(written), str(out), where, str(number)], capture_output=True, text=True
        )
        assert child.returncode == -signal.SIGKILL, child.stderr

    run("step", 7)  # epochs have 6, 6 and 4 steps: this is the second one's second
    assert [row["epoch"] for row in rows_of(out)] == ["1"] and not (out / "teacher.safetensors").exists()
    run("checkpoint", 1)  # the resumed run redoes the second epoch and dies while saving it
    resumed, step = [], TeacherTraining.training_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TeacherTraining, "training_step", lambda self, b, i: resumed.append(len(b["rows"])) or step(self, b, i)
        )
        parts = train_teacher(read_teacher_config(written), out)
    assert resumed == [8] * 6 + [12] * 4, "it must go on after the first epoch, and the batch grow as it would have"
    a, b = state(whole), state(parts)
    assert a and all(torch.equal(a[name], b[name]) for name in a)

    def drop(rows):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    assert drop(rows_of(tmp_path / "whole")) == drop(rows_of(out)) and len(rows_of(out)) == 3


def rows_of(out: Path) -> list[dict]:
    with (out / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_untrained_teacher_is_kept_where_no_epoch_is_better(folder, tmp_path, monkeypatch, caplog):
    ruin = {"learning_rate": 0.05, "image_learning_rate": 0.05}
    config, samples = settings(folder, keep="best", validate_every=1, **ruin), folder_samples((str(folder),), "x")
    path = train_teacher(config, tmp_path / "whole", validation=samples)
    rows = rows_of(tmp_path / "whole")
    assert [row["epoch"] for row in rows] == list("0123")
    before, *recalls = (float(row["validation_ar1"]) for row in rows)
    assert before > max(recalls)
    a, b = build_teacher(config).state_dict(), state(path)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert "no epoch of the teacher recognises more than its untrained weights" in caplog.text
    step, ends = TeacherTraining.training_step, {"at": 0}

    def cut(self, batch, index):
        if self.current_epoch == ends["at"]:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    monkeypatch.setattr(TeacherTraining, "training_step", cut)
    for ends["at"] in (0, 2):
        with pytest.raises(RuntimeError, match="power cut"):
            train_teacher(config, tmp_path / "parts", validation=samples)
    ends["at"] = -1
    parts = state(train_teacher(config, tmp_path / "parts", validation=samples))
    assert all(torch.equal(parts[name], b[name]) for name in b)
    without_time = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    assert without_time[0] == without_time[1]
    kept = train_teacher(changed(config, keep="last"), tmp_path / "last", validation=samples)
    assert not all(torch.equal(state(kept)[name], b[name]) for name in b)
    with pytest.raises(VprError, match="name a validation folder"):
        train_teacher(config, tmp_path / "none")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "teacher": "minkloc++-cloud",
            "options": {k: v for k, v in MINKLOC.items() if k in ("voxel_size",)}
            | {"dim": 8, "cloud_planes": [4, 4, 8]},
        },
        {
            "teacher": "adafusion",
            "options": ADAFUSION,
            "loss": "pairwise",
            "boundary": 1.0,
            "pair_margin": 0.2,
            "init": "he",
        },
        {
            "teacher": "adafusion",
            "options": ADAFUSION,
            "branch": "cloud",
            "init": "he",
            "loss": "pairwise",
            "boundary": 1.0,
            "pair_margin": 0.2,
        },
    ],
    ids=["minkloc++", "minkloc++-cloud", "adafusion-pairwise", "adafusion-cloud"],
)
def test_it_learns_and_the_checkpoint_gives_the_same_embeddings(folder, tmp_path, changes):
    config = settings(
        folder,
        epochs=6,
        milestones=(9,),
        learning_rate=3e-3,
        image_learning_rate=3e-3,
        batch_threshold=0.0,
        clouds=CLOUD_AUGMENTS["none"],
        images=ImageAugmentConfig(0, 0, 0, 0, 0),
        validation=(),
        cache=True,
        **changes,
    )
    samples = folder_samples((str(folder),), "validation")
    path = train_teacher(config, tmp_path / "run", validation=samples)
    rows = rows_of(tmp_path / "run")
    assert [row["epoch"] for row in rows] == list("0123456") and not rows[0]["loss"]
    assert float(rows[-1]["loss"]) < float(rows[1]["loss"]) and float(rows[-1]["validation_ar1"]) > 0.6
    loaded = load_teacher(config.model.teacher, path, sparse="torch")
    assert loaded.cloud_unit == "m", "clouds in another unit must be refused"
    model = AdaFusionBranch(loaded, config.model.branch) if config.model.branch else loaded
    found = embed(model, samples, batch=5)
    assert found.shape[0] == 48 and np.allclose(found, embed(model, samples, batch=48), atol=1e-4)
    fresh = build_teacher(config)
    assert np.abs(found - embed(fresh, samples)).max() > 1e-2, "it must differ from an untrained copy"


def test_the_batch_grows_when_the_best_heads_triplets_get_easy():
    config = TeacherDataConfig()
    assert next_batch_size(8, 0.70, config) == 8 and next_batch_size(8, 0.699, config) == 11
    sizes, size = [], 8
    while not sizes or size != sizes[-1]:
        sizes.append(size)
        size = next_batch_size(size, 0.1, config)
    assert sizes == [8, 11, 15, 21, 29, 40, 56, 78, 109, 152, 160]


def test_two_learning_rates_that_fall_at_the_milestone(folder, tmp_path, monkeypatch):
    seen = []

    def watch(self):
        (group_a, group_b), parameters = self.optimizers().param_groups, dict(self.teacher.named_parameters())
        counts = [len(group["params"]) for group in (group_a, group_b)]
        image = sum(name.startswith("image.") for name in parameters)
        assert counts == [len(parameters) - image, image] and image
        assert group_a["weight_decay"] == group_b["weight_decay"] == 1e-4
        seen.append((group_a["lr"], group_b["lr"]))

    monkeypatch.setattr(TeacherTraining, "on_train_epoch_start", lambda self: (begin(self), watch(self)) and None)
    train_teacher(settings(folder, batch_size=16), tmp_path / "run")
    assert np.allclose(seen, [(1e-3, 1e-4), (1e-3, 1e-4), (1e-4, 1e-5)])


begin = TeacherTraining.on_train_epoch_start


def test_a_step_is_the_weighted_sum_of_the_heads_losses(folder):
    config = settings(folder, batch_size=16, head_weights={"final": 0.5, "cloud": 0.25, "image": 0.0})
    module = TeacherTraining(build_teacher(config).train(), folder_samples(config.data.train, "train"), config, dict)
    module.log_dict = lambda *_a, **_k: None  # there is no trainer to log to
    module.on_train_epoch_start()
    batch = next(iter(module.train_dataloader()))
    loss = module.training_step(batch, 0)
    heads = module.teacher.heads(**batch["inputs"])
    rows = batch["rows"].tolist()
    xy, areas = module.tuples.samples.positions_m[rows], module.tuples.samples.areas[rows]
    gaps = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    same = areas[:, None] == areas[None]
    other = np.array(rows)[:, None] != np.array(rows)[None]
    masks = torch.from_numpy(same & (gaps <= 10) & other), torch.from_numpy(~(same & (gaps <= 50)))
    parts = {name: float(batch_hard_triplet(x, *masks, margin=0.2).loss.detach()) for name, x in heads.items()}
    assert len(rows) == 16 and parts["final"] > 0 and set(parts) == {"final", "cloud", "image"}
    assert float(loss.detach()) == pytest.approx(0.5 * parts["final"] + 0.25 * parts["cloud"], rel=1e-4)
    loss.backward()
    assert all(p.grad is not None for p in module.teacher.image.parameters()), "through the fused head"


def test_a_branch_alone_sees_one_modality_and_trains_nothing_else(folder):
    for branch, letter, dim in (("image", "v", 4), ("cloud", "l", 8)):
        model = build_teacher(settings(folder, teacher="adafusion", options=ADAFUSION, branch=branch))
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        assert trained and all(name.startswith(f"network.{letter}_feature") for name in trained)
        assert model.inputs.names == (("images",) if branch == "image" else ("voxels",))
        embedded = embed(model, folder_samples((str(folder),), "x"))
        assert embedded.shape == (48, dim)
    with pytest.raises(VprError, match="only adafusion"):
        AdaFusionBranch(load_teacher("minkloc++-image", image_planes=(4, 4, 4), dim=4), "image")


def test_tuples_read_only_what_is_seen_and_keep_it_when_asked(folder):
    samples = TrainingSetSamples(folder)
    none, still = CLOUD_AUGMENTS["none"], ImageAugmentConfig(0, 0, 0, 0, 0)
    clouds = TeacherTuples(samples, ["cloud"], none, still)
    row, shared, sample = clouds[3, 11, 22]
    assert (row, shared) == (3, 22) and sample.image is None
    assert np.allclose(np.sort(sample.cloud, 0), np.sort(samples[3].cloud, 0), atol=1e-6)
    kept = TeacherTuples(samples, ["image", "cloud"], none, still, cache=True)
    assert kept.read(5) is kept.read(5) and clouds.read(5) is not clouds.read(5)
    varied = TeacherTuples(samples, ["image", "cloud"], CLOUD_AUGMENTS["minkloc++"], ImageAugmentConfig(), cache=True)
    first, again, other = varied[3, 1, 0][2], varied[3, 1, 0][2], varied[3, 2, 0][2]
    assert np.array_equal(first.cloud, again.cloud) and np.array_equal(first.image, again.image)
    assert not np.array_equal(first.cloud, other.cloud) and not np.array_equal(first.image, other.image)
    assert np.array_equal(varied.read(3).cloud, samples[3].cloud), "the kept sample must not be augmented"


@pytest.mark.parametrize(
    "change, words",
    [
        ({"teacher": "minkloc"}, "no teacher 'minkloc'"),
        ({"branch": "image"}, "only adafusion"),
        ({"branch": "radar", "teacher": "adafusion"}, "choose image, cloud"),
        ({"loss": "huber"}, "triplet, pairwise"),
        ({"non_negative_m": 5.0}, "no pair can be both"),
        ({"batch_size": 2}, "two pairs"),
        ({"batch_growth": 0.5}, "never shrink"),
        ({"epochs": 0}, "1 or more"),
        ({"head_weights": {"final": 0.0}}, "at least one"),
        ({"head_weights": {"final": "much"}}, "numbers of at least 0"),
        ({"validation": ("x",), "train": ("x",)}, "other cities"),
    ],
)
def test_settings_that_cannot_work_are_told(folder, change, words):
    with pytest.raises(VprError, match=words):
        settings(folder, **change)


def test_a_folder_of_another_run_and_data_without_folders_are_refused(folder, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(VprError, match="another configuration"):
        train_teacher(settings(folder), tmp_path)
    with pytest.raises(VprError, match="train: name at least one"):
        train_teacher(settings(folder, train=()), tmp_path / "none")
    with pytest.raises(VprError, match="no option"):
        build_teacher(settings(folder, options={"speed": 3}))


def test_the_shipped_teacher_of_rendered_cities_builds():
    config = read_teacher_config(Path(__file__).parents[3] / "config" / "training" / "minkloc_cities.yaml")
    assert build_teacher(config).dim == 256 and config.model.options["voxel_size"] > 0.1, (
        "rendered clouds are in metres"
    )


@pytest.mark.parametrize("name", ["minkloc", "adafusion"])
def test_the_shipped_configurations_are_the_published_ones(name):
    config = read_teacher_config(
        Path(__file__).parents[3] / "config" / "training" / f"{name}.yaml", {"data.train": ["x"]}
    )
    assert config.data.positive_m == 10 and config.data.non_negative_m == 50
    if name == "minkloc":
        published = changed(TeacherConfig(), train=("x",), validation=config.data.validation)
        assert config == published
    else:
        task, optimisation = config.task, config.optimisation
        assert task.loss == "pairwise" and (task.boundary, task.pair_margin) == (25.0, 1.0) and optimisation.amsgrad
        rates = (optimisation.learning_rate, optimisation.image_learning_rate, optimisation.weight_decay)
        assert rates == (1e-3, 1e-3, 1e-3)
        assert config.data.batch_size == config.data.batch_limit == 16


def test_the_command(folder, tmp_path, capsys):
    from typer.testing import CliRunner

    from vpr_ros.cli.app import app

    written = tmp_path / "run.yaml"
    written.write_text(
        yaml.safe_dump(
            {
                "model": {"options": MINKLOC},
                "data": {"batch_size": 16, "train": ["nowhere"]},
                "hardware": {"accelerator": "cpu", "threads": 1},
            }
        )
    )

    def run(*words):
        return CliRunner().invoke(app, ["train", "teacher", *map(str, words)])

    result = run(written, "-o", tmp_path / "run", "--epochs", 1, "--train", folder)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "teacher.safetensors").exists() and state(tmp_path / "run" / "teacher.safetensors")
    result = run(written, "-o", tmp_path / "other")
    assert result.exit_code == 2 and "nowhere is no training set" in " ".join(result.output.split())
    assert run(tmp_path / "none.yaml").exit_code == 2
