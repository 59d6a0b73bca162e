"""`vpr_ros export`: from a run, cut off or finished, and from a file of weights to the checkpoint that a robot runs."""

import json
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from vpr_ros.student import CONFIGS, DescriptorExtractor, load_checkpoint, read_checkpoint
from vpr_ros.training.export import candidates

VIEWS = 12


def write_set(folder, seed, cities, drives=2, places=VIEWS):
    """A training set of `places` pictures along a street of each city, seen again in every drive."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines = ["frame,drive,city,x_m,y_m,heading_rad,condition,stamp_ns,image,cloud"]
    for city in cities:
        pictures = rng.integers(0, 255, (places, 6, 8, 3), dtype=np.uint8)
        for drive in range(drives):
            for k in range(places):
                picture = cv2.resize(pictures[k], (64, 48), interpolation=cv2.INTER_CUBIC).astype(float)
                noisy = np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
                name = f"{len(lines):05d}.jpg"
                cv2.imwrite(str(folder / name), noisy)
                stamp = (drive * 1000 + k) * 10**9
                lines.append(f"{len(lines)},{city}{drive},{city},{16 * k},{drive},0.0,day{drive},{stamp},{name},")
    (folder / "frames.csv").write_text("\n".join(lines) + "\n")
    (folder / "meta.json").write_text(json.dumps({"format": 1}))
    return folder


@pytest.fixture(scope="session")
def town(tmp_path_factory):
    """48 training frames."""
    return write_set(tmp_path_factory.mktemp("sets") / "town", 1, "ab")


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    """Validation drives: 40 queries, each city's first drive is the map."""
    return write_set(tmp_path_factory.mktemp("sets") / "elsewhere", 2, "xy", places=20)


@pytest.fixture
def run_dir(checkpoint, town, tmp_path, monkeypatch):
    """A run as `vpr_ros train` leaves it when it is stopped after an epoch."""
    student = load_checkpoint(checkpoint)
    monkeypatch.setitem(CONFIGS, "tiny", student.config)
    folder = tmp_path / "run"
    folder.mkdir()
    config = {
        "model": {"student": "tiny"},
        "data": {"train": [str(town)], "validation": []},
        "task": {"loss": "contrastive"},
        "export": {"projection_dim": 8, "whiten": 0.5},
        "optimisation": {"seed": 3},
    }
    (folder / "config.json").write_text(json.dumps(config))
    state = {f"student.{key}": value for key, value in student.state_dict().items()}
    known = {"kind": "metric learning", "config": {"data": {"train": [town.name]}}, "data": "town", "frames": 48}
    kept = {
        "epoch": 0,
        "provenance": known,
        "global_step": 5,
        "state_dict": state,
        "optimizer_states": [{"state": {}}],
        "loops": {},
    }
    torch.save(kept, folder / "last.ckpt")
    return folder


def refuses(result, *words):
    """One sentence on stderr, exit code 2, no traceback, with the words in it."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error:"), result.stderr
    for word in words:
        assert word in lines[0]


def test_a_run_that_was_stopped_becomes_a_checkpoint_for_robots(run_dir, town, elsewhere, checkpoint, vpr):
    config = json.loads((run_dir / "config.json").read_text())
    (run_dir / "config.json").write_text(
        json.dumps(config | {"data": config["data"] | {"validation": [str(elsewhere)]}})
    )
    result = vpr("export", run_dir)
    assert result.exit_code == 0, result.output
    assert "fitted" in result.stdout and "full" in result.stdout and "day1" in result.stdout
    made = read_checkpoint(run_dir / "student.safetensors")
    assert made.projection.dim == 8 and made.projection.whiten == 0.5
    assert made.calibration_json["source"] == "checkpoint"
    facts = made.metadata["provenance"]
    assert facts["epochs"] == 1 and facts["weights"] == "last" and facts["kind"] == "metric learning"
    assert facts["projection"] == {"kind": "fitted", "dim": 8, "whiten": 0.5, "samples": 48}
    assert set(facts["validation"]) == {"day1", "all"}
    # folders by their names alone
    assert facts["config"]["data"]["train"] == ["town"] and str(town.parent) not in json.dumps(facts)
    own, same = load_checkpoint(checkpoint).state_dict(), made.model.state_dict()
    assert all(torch.allclose(own[key], same[key], atol=2e-3) for key in own)
    extractor = DescriptorExtractor.from_checkpoint(run_dir / "student.safetensors")
    picture = cv2.imread(str(town / "00001.jpg"))
    assert extractor.describe(picture[None]).shape == (1, 8)
    refuses(vpr("export", run_dir), "exists already", "--force")


def test_a_run_without_groups_in_its_configuration(run_dir, town, vpr, tmp_path):
    assert vpr("export", run_dir, "-o", tmp_path / "new.safetensors").exit_code == 0
    former = {"student": "tiny", "train": [str(town)], "projection_dim": 8, "whiten": 0.5, "seed": 3, "keep": "last"}
    (run_dir / "config.json").write_text(json.dumps(former))
    assert vpr("export", run_dir, "-o", tmp_path / "old.safetensors").exit_code == 0
    new, old = (read_checkpoint(tmp_path / f"{name}.safetensors").metadata for name in ("new", "old"))
    assert new["fingerprint"] == old["fingerprint"]
    (run_dir / "config.json").write_text(json.dumps({"teacher": "minkloc++"}))
    refuses(vpr("export", run_dir), "teacher's run")


def test_the_averaged_weights_are_taken_where_there_are_some(run_dir, checkpoint, vpr, tmp_path):
    kept = torch.load(run_dir / "last.ckpt", weights_only=True)
    average = {f"average.{key.removeprefix('student.')}": value.clone() for key, value in kept["state_dict"].items()}
    average["average.aggregator.p" if "average.aggregator.p" in average else next(iter(average))].fill_(1.25)
    changed = next(key for key, value in average.items() if value.numel() and bool((value == 1.25).all()))
    torch.save(kept | {"state_dict": kept["state_dict"] | average}, run_dir / "last.ckpt")
    assert vpr("export", run_dir, "-o", tmp_path / "a.safetensors").exit_code == 0
    made = load_checkpoint(tmp_path / "a.safetensors").state_dict()
    assert bool((made[changed.removeprefix("average.")] == 1.25).all())


def test_the_best_weights_of_a_run(run_dir, vpr, tmp_path):
    refuses(vpr("export", run_dir, "--weights", "best"), "kept no best weights")
    (run_dir / "last.ckpt").rename(run_dir / "best.ckpt")
    result = vpr("export", run_dir, "--weights", "best", "-o", tmp_path / "best.safetensors")
    assert result.exit_code == 0, result.output
    assert read_checkpoint(tmp_path / "best.safetensors").metadata["provenance"]["weights"] == "best"
    refuses(vpr("export", run_dir), "no whole epoch")
    config = json.loads((run_dir / "config.json").read_text())
    (run_dir / "config.json").write_text(json.dumps(config | {"optimisation": {"seed": 3, "keep": "best"}}))
    assert vpr("export", run_dir, "-o", tmp_path / "same.safetensors").exit_code == 0
    same, best = (read_checkpoint(tmp_path / f"{name}.safetensors").metadata for name in ("same", "best"))
    assert same["fingerprint"] == best["fingerprint"]
    refuses(vpr("export", run_dir, "--weights", "worst"), "last or best")


def test_a_file_of_weights_with_frames_of_ones_own(checkpoint, town, vpr, tmp_path):
    out = tmp_path / "own.safetensors"
    result = vpr("export", checkpoint, "--train", town, "--dim", 6, "-o", out)
    assert result.exit_code == 0 and "vpr_ros calibrate" in result.stdout, result.output
    made = read_checkpoint(out)
    assert made.projection.dim == 6 and made.calibration_json is None
    assert made.metadata["provenance"]["kind"] == "untrained", "where the weights come from must stay known"
    assert vpr("export", checkpoint, "--train", town, "--dim", 4, "-o", out, "--force").exit_code == 0
    assert read_checkpoint(out).projection.dim == 4
    refuses(vpr("export", checkpoint, "-o", tmp_path / "x.safetensors"), "--train")
    refuses(vpr("export", checkpoint, "--train", town), "-o")


def test_a_trained_projection_is_compared_with_the_fitted_one(run_dir, vpr, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "ProjectionTraining", partial(candidates.ProjectionTraining, steps=15))
    fitted, trained = tmp_path / "fitted.safetensors", tmp_path / "trained.safetensors"
    assert vpr("export", run_dir, "-o", fitted).exit_code == 0
    few = write_set(tmp_path / "few", 7, "z", places=10)
    result = vpr("export", run_dir, "-o", trained, "--projection", "trained", "--validation", few)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert {row[0] for row in rows if len(row) == 3} >= {"full", "fitted", "trained"}
    a, b = read_checkpoint(fitted).projection, read_checkpoint(trained).projection
    assert np.array_equal(a.mean, b.mean) and not np.array_equal(a.matrix, b.matrix)
    assert read_checkpoint(trained).metadata["provenance"]["projection"]["kind"] == "trained"
    refuses(
        vpr("export", run_dir, "-o", tmp_path / "x.safetensors", "--projection", "good"),
        "best, fitted, trained or kept",
    )


def test_a_kept_projection_is_only_calibrated(run_dir, checkpoint, vpr, tmp_path):
    fitted, kept = tmp_path / "fitted.safetensors", tmp_path / "kept.safetensors"
    assert vpr("export", run_dir, "-o", fitted).exit_code == 0
    other = write_set(tmp_path / "other", 7, "z", places=20)
    result = vpr("export", fitted, "--projection", "kept", "--validation", other, "-o", kept)
    assert result.exit_code == 0, result.output
    a, b = read_checkpoint(fitted), read_checkpoint(kept)
    assert a.metadata["fingerprint"] == b.metadata["fingerprint"], "maps of the one are maps of the other"
    facts = [one.metadata["provenance"] for one in (a, b)]
    assert facts[0]["projection"] == facts[1]["projection"] and "all" in facts[1]["validation"]
    assert {line.split()[0] for line in result.stdout.splitlines() if line.split()} >= {"full", "kept"}
    refuses(vpr("export", fitted, "--projection", "kept", "-o", tmp_path / "x.safetensors"), "--validation")
    bare = ("export", checkpoint, "--projection", "kept", "--validation", other, "-o", tmp_path / "x.safetensors")
    refuses(vpr(*bare), "no projection to keep")


def test_frames_that_are_too_few(run_dir, checkpoint, town, vpr, tmp_path):
    refuses(vpr("export", run_dir, "--dim", 13), "48 training frames are too few for 13", "12 or fewer")
    assert not (run_dir / "student.safetensors").exists()
    assert vpr("export", run_dir, "--dim", 12).exit_code == 0
    one = write_set(tmp_path / "one", 5, "q", drives=1, places=7)
    refuses(vpr("export", checkpoint, "--train", one, "-o", tmp_path / "x.safetensors"), "7 training frames", "add")


def test_too_few_validation_queries_give_no_calibration(run_dir, vpr, tmp_path):
    few = write_set(tmp_path / "few", 6, "z", places=5)
    result = vpr("export", run_dir, "--validation", few)
    assert result.exit_code == 0 and "no calibration" in result.stdout
    assert read_checkpoint(run_dir / "student.safetensors").calibration_json is None


def test_validation_frames_that_were_trained_on(run_dir, town, vpr, tmp_path):
    refuses(vpr("export", run_dir, "--validation", town), "48 of 48", "nothing was learned from")
    copy = write_set(tmp_path / "copy", 9, "a")  # other pictures, the same drive
    refuses(vpr("export", run_dir, "--validation", copy), "24 of 24", "'a0'")
    again = write_set(tmp_path / "again", 9, "a", places=5)
    table = (again / "frames.csv").read_text()
    (again / "frames.csv").write_text(table.replace("a0,", "monday,").replace("a1,", "tuesday,"))
    result = vpr("export", run_dir, "--validation", again)
    assert result.exit_code == 0 and "the same streets" in result.stdout


def test_runs_that_are_none(run_dir, checkpoint, vpr, tmp_path):
    out = tmp_path / "x.safetensors"
    refuses(vpr("export", tmp_path / "nowhere"), "nowhere' does not exist")
    (tmp_path / "empty").mkdir()
    refuses(vpr("export", tmp_path / "empty"), "no config.json")
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "config.json").write_text('{"model": {"teacher": "minkloc++"}}')
    refuses(vpr("export", tmp_path / "teacher"), "teacher's run")
    torn = (run_dir / "last.ckpt").read_bytes()
    (run_dir / "last.ckpt").write_bytes(torn[: len(torn) // 2])
    refuses(vpr("export", run_dir), "truncated or damaged")
    (run_dir / "last.ckpt").unlink()
    refuses(vpr("export", run_dir), "no whole epoch yet")
    (run_dir / "config.json").write_text('{"student": ')
    refuses(vpr("export", run_dir), "cannot be read")
    refuses(vpr("export", checkpoint, "-o", tmp_path / "x.pth"), ".safetensors")
    assert not out.exists()


def test_data_that_are_none(run_dir, vpr, tmp_path):
    (tmp_path / "no_set").mkdir()
    refuses(vpr("export", run_dir, "--train", tmp_path / "no_set"), "no training set")
    refuses(vpr("export", run_dir, "--train", tmp_path / "gone"), "gone' (--train) does not exist")
    refuses(vpr("export", run_dir, "--validation", tmp_path / "gone"), "gone' (--validation) does not exist")


def test_nothing_in_a_run_is_executed(run_dir, vpr, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"state_dict": {}, "trap": Trap()}, run_dir / "last.ckpt")
    refuses(vpr("export", run_dir), "never executed")
    assert not (tmp_path / "sprung").exists()
    torch.save({"state_dict": {"teacher.weight": torch.zeros(2)}, "epoch": 0}, run_dir / "last.ckpt")
    refuses(vpr("export", run_dir), "holds no student")


def test_a_map_is_still_exported_as_a_table(first_map, vpr, tmp_path):
    assert vpr("export", first_map, "-o", tmp_path / "town.csv").exit_code == 0
    assert len((tmp_path / "town.csv").read_text().splitlines()) == 31
    refuses(vpr("export", first_map), "is a map", "-o")
    refuses(vpr("export", first_map, "-o", tmp_path / "town.safetensors"), "neither a .csv nor")
    refuses(vpr("export", tmp_path / "none.vpr", "-o", tmp_path / "town.csv"), "does not exist")
