"""Models on drives of several conditions: embeddings, figures against plain loops, files, refusals, the command."""

import csv
import itertools
import json
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vpr_ros.errors import VprError
from vpr_ros.lidar import compare_unit, polar_grids, unit_grids
from vpr_ros.student import D2VPR, NANO, DescriptorExtractor, save_checkpoint
from vpr_ros.training.data.sample import METRES, NORMALISED, Sample, SampleSet
from vpr_ros.training.evaluation import embed, evaluate_model, fit_on_samples, open_drives, write_evaluation
from vpr_ros.training.evaluation.writing import reduced_curve
from vpr_ros.training.teachers import load_teacher, save_teacher

MINKLOC = {
    "cloud_dim": 8,
    "image_dim": 8,
    "voxel_size": 1.0,
    "cloud_planes": [4, 4, 4],
    "image_size": [16, 24],
    "image_planes": [4, 4, 8],
}
WEATHER = ("summer/day", "winter/day", "summer/night")


@dataclass
class Memory(SampleSet):
    """A sample set in memory: two cities, three drives of a condition each, ten places 20 m apart."""

    name: str = "town"
    cloud_unit: str = METRES
    seed: int = 0
    cities: str = "ab"

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        places = {c: (rng.integers(80, 175, (10, 4, 6, 3)), rng.uniform(-9, 9, (10, 60, 3))) for c in self.cities}
        rows, self.samples = [], []
        for city in self.cities:
            for drive, weather in enumerate(WEATHER):
                for k in range(10):
                    seen = cv2.resize(places[city][0][k].astype(np.uint8), (24, 16)).astype(float)
                    image = np.clip(seen + rng.normal(0, 120 * drive, seen.shape), 0, 255).astype(np.uint8)
                    cloud = (places[city][1][k] + rng.normal(0, 0.3, (60, 3))).astype(np.float32)
                    stamp = (drive * 1000 + k) * 10**9
                    rows.append((20.0 * k + drive, 0.5 * drive, 0.1 * k, city, f"{city}{drive}", weather, stamp))
                    self.samples.append(Sample(image, cloud, None, stamp, condition=weather, drive=f"{city}{drive}"))
        x, y, heading, city, drive, weather, stamps = zip(*rows, strict=True)
        self.positions_m, self.headings_rad = np.column_stack([x, y]), np.array(heading)
        self.areas, self.drives, self.conditions = np.array(city), np.array(drive), np.array(weather)
        self.stamps_ns = np.array(stamps, np.int64)

    def __len__(self):
        return len(self.samples)

    def read(self, row, modalities):
        sample = self.samples[row]
        return replace(sample, **{name: None for name in ("image", "cloud") if name not in modalities})


@pytest.fixture(scope="module")
def town():
    return Memory()


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return load_teacher("minkloc++", sparse="torch", **MINKLOC)


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(3)
    config = NANO.replace(
        name="tiny",
        image_size=(56, 56),
        width=32,
        depth=2,
        heads=2,
        taps=(1, 2),
        adapter_width=16,
        dim=16,
        offset_hidden=16,
        fusion_hidden=16,
        position_hidden=8,
        stem_channels=(8, 8),
        position_grid=(4, 4),
    )
    return D2VPR(config).eval()


def pixels(samples):
    """A model by hand: shrunken pictures."""
    return np.stack([cv2.resize(s.image, (6, 4)).ravel() for s in samples]).astype(np.float32)


def test_every_kind_of_model_is_embedded_in_order(town, teacher, student):
    extractor = DescriptorExtractor(student, device="cpu")
    for model in (teacher, student, extractor, pixels):
        found = embed(model, town, batch=7)
        assert found.dtype == np.float32 and len(found) == 60
        np.testing.assert_allclose(found, embed(model, town, batch=60), atol=1e-4)
        alone = Memory()
        alone.samples = [town.samples[17]]
        np.testing.assert_allclose(embed(model, alone)[0], found[17], atol=1e-4)
    np.testing.assert_allclose(embed(student, town), embed(extractor, town), atol=1e-5)


def test_networks_run_in_eval_mode_and_get_their_mode_back(town, teacher):
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    expected = embed(teacher, town)
    teacher.train()
    told = []
    np.testing.assert_array_equal(embed(teacher, town, batch=25, progress=told.append).shape, expected.shape)
    assert teacher.training and told == [25, 50, 60]
    np.testing.assert_allclose(embed(teacher, town), expected, atol=1e-6)
    teacher.eval()
    assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items())


def naive_figures(found, town, database, query):
    """AR@1, AR@1 % and average precision of the pairs of two conditions, in loops."""
    recalls, answers, with_match = [], [], 0
    for city in "ab":
        rows = {w: [i for i in range(60) if town.areas[i] == city and town.conditions[i] == w] for w in WEATHER}
        hits = asked = 0
        for q in rows[query]:
            gaps = [float(((found[q].astype(float) - found[d].astype(float)) ** 2).sum()) for d in rows[database]]
            right = [np.hypot(*(town.positions_m[q] - town.positions_m[d])) <= 25 for d in rows[database]]
            best = min(gaps)
            # among equals the wrong ones come first
            good = all(r for g, r in zip(gaps, right, strict=True) if g == best)
            if any(right):
                asked, hits, with_match = asked + 1, hits + good, with_match + 1
            answers.append((best, good and any(right)))
        recalls.append(hits / asked)
    answers.sort()
    area, accepted_right = 0.0, 0
    for n, (_, good) in enumerate(answers, start=1):
        accepted_right += good
        area += good / with_match * accepted_right / n
    return np.mean(recalls), np.mean(recalls), area


def test_table_of_conditions_against_loops(town):
    evaluation = evaluate_model(pixels, town, name="pixels")
    found = embed(pixels, town)
    header, rows = evaluation.condition_table()
    table = {tuple(row[:2]): dict(zip(header, row, strict=True)) for row in rows}
    assert len(table) == 7  # three conditions asked by the two others, and all
    for names, row in table.items():
        if names == ("all", "all"):
            continue
        ar1, ar1_percent, area = naive_figures(found, town, *names)
        assert row["AR@1"] == pytest.approx(ar1) and row["AR@1%"] == pytest.approx(ar1_percent)
        assert row["average precision"] == pytest.approx(area)
        assert row["run pairs"] == 2 and row["queries"] == 20 and row["skipped"] == 0
    assert table["all", "all"]["AR@1"] == pytest.approx(np.mean([r["AR@1"] for n, r in table.items() if n[0] != "all"]))
    assert 0.1 < table["summer/night", "winter/day"]["AR@1"] < table["summer/day", "winter/day"]["AR@1"] < 1.01
    # 25 m: a place and its neighbours at 20 m; 1 to 2 of them at the ends
    assert 2 / 10 < evaluation.recalls.chance < 3 / 10


def test_measure_heading_and_queries_reach_the_protocol(town):
    inside = town.positions_m[:, 0] < 100
    one = evaluate_model(pixels, town, measure="cosine", queries=inside, radius_m=5, heading_rad=0.05)
    assert one.recalls.counted == 12 * inside[:10].sum() and "cosine" in one.statement
    assert "looks the same way" in one.statement and "Embeddings of 72 numbers" in one.statement
    blind = Memory()
    blind.headings_rad = None
    assert evaluate_model(pixels, blind).recalls.ar1 == evaluate_model(pixels, town).recalls.ar1
    with pytest.raises(VprError, match="knows no headings"):
        evaluate_model(pixels, blind, heading_rad=0.5)


def test_a_projection_of_training_drives_only(town):
    training = Memory(name="training cities", seed=5, cities="xy")
    reduction = fit_on_samples(pixels, training, 8)
    assert "PCA to 8, fitted on 60 images of training cities" in str(reduction)
    evaluation = evaluate_model(pixels, town, reduction=reduction, renormalise=False)
    assert str(reduction) in evaluation.statement
    centred = embed(pixels, training).astype(np.float64)
    directions = np.linalg.svd(centred - centred.mean(0), full_matrices=False)[2][:8]
    expected = evaluate_model(lambda s: (pixels(s) - centred.mean(0)) @ directions.T, town)
    assert evaluation.recalls.ar1 == pytest.approx(expected.recalls.ar1)
    leaked = fit_on_samples(pixels, town, 8)
    with pytest.raises(VprError, match="town shares 60 images with the sample set town"):
        evaluate_model(pixels, town, reduction=leaked)
    mixed = Memory(name="train and test", seed=6, cities="ax")  # city a is tested
    with pytest.raises(VprError, match="train and test shares 30 images"):
        evaluate_model(pixels, town, reduction=fit_on_samples(pixels, mixed, 8))


def test_files(town, tmp_path):
    evaluation = evaluate_model(pixels, town, name="pixels")
    files = write_evaluation(tmp_path / "out", evaluation)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in files)
    facts = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    recalls = evaluation.recalls
    assert facts["AR@1"] == recalls.ar1 and facts["AR@N"]["25"] == recalls.ar(25)
    assert facts["areas"]["b"]["AR@1"] == recalls.per_area()["b"]
    assert facts["measure"] == "euclidean" and "raw embeddings" in facts["protocol"]
    with open(tmp_path / "out" / "conditions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 7 and float(rows[-1]["AR@1"]) == pytest.approx(recalls.ar1, abs=1e-5)
    with open(tmp_path / "out" / "run_pairs.csv", newline="") as stream:
        pairs = list(csv.DictReader(stream))
    assert len(pairs) == 12 and np.mean([float(p["recall@1"]) for p in pairs]) == pytest.approx(recalls.ar1, abs=1e-5)
    with open(tmp_path / "out" / "precision_recall.csv", newline="") as stream:
        points = list(csv.DictReader(stream))
    assert {(p["database condition"], p["query condition"]) for p in points} == set(recalls.by_condition())
    picture = cv2.imread(str(tmp_path / "out" / "conditions.png"))
    assert picture is not None and picture.shape[1] > 1200 and picture.std() > 10
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(VprError, match="cannot write"):
        write_evaluation(tmp_path / "blocked", evaluation)


def test_a_pair_without_any_true_match_is_written_as_nothing(tmp_path):
    far = Memory()
    far.positions_m[20:30] += 1e5  # the third drive of city a
    evaluation = evaluate_model(pixels, far)
    assert evaluation.recalls.empty_pairs == 4
    assert "4 pairs without any true match were left out" in evaluation.statement
    kept = evaluation.recalls.select(lambda p: not {"a2"} & {p.database_run, p.query_run})
    assert len(kept.pairs) == 8 and evaluation.recalls.ar1 == kept.ar1
    far = Memory()
    far.positions_m[20:30] += 1e5
    far.positions_m[50:] += 1e5
    write_evaluation(tmp_path, evaluate_model(pixels, far))
    facts = json.loads((tmp_path / "evaluation.json").read_text())
    assert np.isfinite(facts["AR@1"])
    nothing = [row["AR@1"] is None for row in facts["conditions"]]
    assert nothing == ["night" in row["database condition"] + row["query condition"] for row in facts["conditions"]]


def test_thinned_curves_keep_their_ends(town):
    curve = evaluate_model(pixels, town).recalls.precision_recall()
    points = reduced_curve(curve, 10)
    assert len(points) == 10 and points[0][0] == -curve.thresholds[0] and points[-1][2] == curve.recall[-1]


def test_bad_models_and_sets(town, teacher):
    with pytest.raises(VprError, match="a Linear is no model"):
        embed(torch.nn.Linear(2, 2), town)
    with pytest.raises(VprError, match="not finite for sample 3"):
        embed(lambda s: np.where(np.arange(len(s))[:, None] == 3, np.nan, 1.0), town)
    blind = Memory()
    blind.samples = [Sample(None, s.cloud, None, s.stamp_ns, drive=s.drive) for s in blind.samples]
    for model in (teacher, DescriptorExtractor(D2VPR(NANO.replace(depth=1, taps=(1,))).eval(), device="cpu")):
        with pytest.raises(VprError, match="has no image"):
            embed(model, blind)
    blind.samples = []
    with pytest.raises(VprError, match="town is empty"):
        embed(pixels, blind)


def test_clouds_in_another_unit_than_the_teacher_learnt_from(town, teacher, monkeypatch):
    monkeypatch.setattr(teacher, "cloud_unit", NORMALISED)
    with pytest.raises(VprError, match="knows PointNetVLAD's normalised clouds, and town has clouds in metres"):
        embed(teacher, town)
    expected = embed(teacher, Memory(cloud_unit=NORMALISED))
    monkeypatch.setattr(teacher, "cloud_unit", "")
    assert np.array_equal(embed(teacher, town), expected), "nobody knows of what these weights learnt: no objection"
    image = load_teacher("minkloc++-image", dim=8, image_size=[16, 24], image_planes=[4, 4, 8])
    image.cloud_unit = NORMALISED
    assert len(embed(image, town)) == len(town), "it sees no clouds"


@pytest.fixture(scope="module")
def folder(town, tmp_path_factory):
    """The town as a training set on disk."""
    out = tmp_path_factory.mktemp("drives") / "town"
    out.mkdir()
    lines = ["frame,drive,city,x_m,y_m,heading_rad,condition,stamp_ns,image,cloud"]
    for i, sample in enumerate(town.samples):
        cv2.imwrite(str(out / f"{i}.png"), sample.image[..., ::-1])
        np.save(out / f"{i}.npy", sample.cloud)
        (x, y), heading = town.positions_m[i], town.headings_rad[i]
        row = (i, sample.drive, town.areas[i], x, y, heading, sample.condition, sample.stamp_ns, f"{i}.png", f"{i}.npy")
        lines.append(",".join(map(str, row)))
    (out / "frames.csv").write_text("\n".join(lines) + "\n")
    (out / "meta.json").write_text(json.dumps({"format": 1}))
    return out


def test_folders_are_opened_by_what_lies_in_them(folder, town, tmp_path):
    samples = open_drives([folder])
    assert len(samples) == 60 and samples.name == "town"
    assert evaluate_model(pixels, samples).recalls.ar1 == pytest.approx(evaluate_model(pixels, town).recalls.ar1)
    (tmp_path / "boreas-2021-01-26-11-22").mkdir()
    with pytest.raises(VprError, match="drives of one kind"):
        open_drives([folder, tmp_path / "boreas-2021-01-26-11-22"])
    for path, words in ((tmp_path, "was expected"), (tmp_path / "none", "was expected")):
        with pytest.raises(VprError, match=words):
            open_drives([path])
    with pytest.raises(VprError, match="no folder"):
        open_drives([])


def run(*arguments):
    from vpr_ros.cli import app

    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})  # tables unbroken


def best_turn_recall(town):
    """AR@1 of polar grids, pair of runs by pair of runs, within 25 m."""
    grids = unit_grids(polar_grids([town[row].cloud for row in range(len(town))]), 0.7)
    recalls = []
    for base, query in itertools.permutations(sorted(set(town.drives)), 2):
        b, q = (np.flatnonzero(town.drives == name) for name in (base, query))
        if town.areas[b[0]] != town.areas[q[0]]:
            continue
        gaps = np.linalg.norm(town.positions_m[q][:, None] - town.positions_m[b], axis=2)
        answers = compare_unit(grids[q], grids[b])[0].argmax(axis=1)
        recalls.append((gaps[np.arange(len(q)), answers] <= 25)[(gaps <= 25).any(1)].mean())
    return np.mean(recalls)


def test_command_line(folder, town, teacher, student, tmp_path):
    save_teacher(tmp_path / "minkloc.safetensors", teacher)
    save_checkpoint(tmp_path / "tiny.safetensors", student)
    done = run(
        "eval",
        "drives",
        folder,
        "--teacher",
        "minkloc++",
        "-c",
        tmp_path / "minkloc.safetensors",
        "--device",
        "cpu",
        "-o",
        tmp_path / "out",
        "--measure",
        "cosine",
    )
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert facts["AR@1"] == pytest.approx(evaluate_model(teacher, town, measure="cosine").recalls.ar1)
    said = " ".join(done.output.split())
    for words in ("minkloc++ (minkloc) on town", "winter/day", "AR@1 %", "cosine of normalised embeddings", "25 m"):
        assert words in said, words
    done = run("eval", "drives", folder, "--teacher", "polar-grid", "-o", tmp_path / "polar")
    facts = json.loads((tmp_path / "polar" / "evaluation.json").read_text())
    assert facts["measure"] == "best-turn" and "at the best turn" in " ".join(done.output.split())
    assert facts["AR@1"] == pytest.approx(best_turn_recall(town), abs=1e-9)
    done = run("eval", "drives", folder, "-c", tmp_path / "tiny.safetensors", "--radius-m", 5, "--device", "cpu")
    assert done.exit_code == 0 and "within 5 m" in " ".join(done.output.split())
    mine = ("drives", folder, "-c", tmp_path / "tiny.safetensors")
    for words, arguments in {
        "needs its weights": ("drives", folder, "--teacher", "minkloc++"),
        "there is no teacher": ("drives", folder, "--teacher", "mink", "-c", tmp_path / "tiny.safetensors"),
        "eval drives FOLDER": ("--drives", folder, "--submaps", folder),
        "eval submaps FOLDER": ("--submaps", folder, "--teacher", "minkloc++"),
        "choose euclidean": (*mine, "--measure", "l2"),
        "shares 60 images": (*mine, "--pca-from", folder, "--pca-dim", 9),
        "choose oxford": ("submaps", folder, "--split", "london"),
    }.items():
        wrong = run("eval", *arguments)
        assert wrong.exit_code == 2 and words in " ".join(wrong.stderr.split()), (words, wrong.output, wrong.stderr)
