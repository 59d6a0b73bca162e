"""The benchmark of probabilities: its figures by hand, its chained drives, and one run through the product."""

from pathlib import Path

import numpy as np
import pytest
from pixel_street import PixelExtractor, panorama
from pixel_street import observations as frames_of

from vpr_ros.configuration import DecisionConfig, RecognitionConfig
from vpr_ros.evaluation.truth import truth_from_frames
from vpr_ros.geometry import planar_transform
from vpr_ros.pictures import encode
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import probability_drives
    import probability_figures

    return probability_drives, probability_figures


def test_figures_are_those_of_a_count_by_hand(modules):
    _, figures = modules
    rng = np.random.default_rng(3)
    on, first, free, right = (rng.random(400) < share for share in (0.7, 0.6, 0.8, 0.8))
    right &= on
    stated, usual, wanted = rng.random(400), np.repeat([0.5, 0.6], [150, 250]), np.repeat([0.3, 0.4], [150, 250])
    agreed = (rng.random(400) < 0.7) & free & (stated >= usual)
    columns = on, first, free, right, stated, usual, wanted, agreed.astype(float)
    parts = [figures.Frames(*(x[a:b] for x in columns)) for a, b in ((0, 150), (150, 400))]
    row = figures.figures(figures.Frames.together(parts))
    seen = range(400)
    accepted, more = ([free[i] and stated[i] >= least[i] for i in seen] for least in (usual, wanted))
    assert row["on"] == sum(on[i] for i in seen) and row["off"] == 400 - row["on"]
    assert row["R@1"] == pytest.approx(np.mean([first[i] for i in seen if on[i]]))
    assert row["accepted"] == pytest.approx(np.mean([accepted[i] for i in seen if on[i]]))
    assert row["precision"] == pytest.approx(np.mean([right[i] for i in seen if accepted[i]]))
    assert row["p(.99)"] == pytest.approx((150 * 0.3 + 250 * 0.4) / 400)
    assert row["accepted .99"] == pytest.approx(np.mean([more[i] for i in seen if on[i]]))
    assert row["precision .99"] == pytest.approx(np.mean([right[i] for i in seen if more[i]]))
    assert row["false"] == sum(accepted[i] and not on[i] for i in seen)
    assert row["max p"] == max(stated[i] for i in seen if not on[i])
    assert row["> 0.8"] == sum(stated[i] > 0.8 and not on[i] for i in seen)
    middle = [i for i in seen if 0.3 <= stated[i] < 0.9]
    assert row["mid n"] == len(middle) and row["stated"] == pytest.approx(np.mean(stated[middle]))
    assert row["right"] == pytest.approx(np.mean(right[middle]))
    bins = [[i for i in seen if b / 10 <= stated[i] < (b + 1) / 10] for b in range(10)]
    gaps = sum(len(b) * abs(np.mean(stated[b]) - np.mean(right[b])) for b in bins if b)
    assert row["ECE"] == pytest.approx(gaps / 400)
    assert row["confirmed"] == pytest.approx(np.mean([agreed[i] and right[i] for i in seen if on[i]]))
    assert row["false conf."] == sum(agreed[i] and not right[i] for i in seen)
    surest_wrong = max(stated[i] for i in seen if free[i] and not right[i])
    assert row["R@P1"] == pytest.approx(
        sum(free[i] and right[i] and stated[i] > surest_wrong for i in seen) / sum(on[i] for i in seen)
    )
    nothing = figures.figures(figures.Frames(*(x[:0] for x in columns)))
    assert nothing["on"] == 0 and np.isnan(nothing["precision"]) and "-" in figures.line("none", nothing, 8)


def test_drives_that_are_joined_are_one_drive_with_a_gap_between(modules):
    drives, _ = modules

    def drive(x0, count):
        T = np.array([planar_transform(x0 + 3.0 * i, 0.0, 0.4) for i in range(count)])
        stamps = 7 * 10**9 + np.arange(count) * 375_000_000
        return drives.StoredDrive(tuple(Path(f"{x0}/{i}.jpg") for i in range(count)), stamps, T, T)

    whole = drives.joined([drive(0, 5), drive(500, 4), drive(90, 3).elsewhere()])
    assert len(whole) == 12 and [p.parts[0] for p in whole.images[4:6]] == ["0", "500"]
    assert (np.diff(whole.stamps_ns) > 0).all()
    step = np.linalg.norm(np.diff(whole.T_odom[:, :2, 3], axis=0), axis=1)
    assert step == pytest.approx([3, 3, 3, 3, 10, 3, 3, 3, 10, 3, 3])
    assert np.diff(whole.stamps_ns)[[4, 8]] == pytest.approx(375e6 * 10 / 3, rel=1e-6)
    assert np.allclose(whole.T_true[:5, 0, 3], 3.0 * np.arange(5)) and whole.T_true[-1, 0, 3] > 90_000
    plain = drives.joined([drives.StoredDrive((Path("a"), Path("b")), np.array([0, 200]))] * 2)
    assert plain.T_odom is None and plain.T_true is None and (np.diff(plain.stamps_ns) > 0).all()


def test_a_walk_is_recognised_through_the_live_core_and_described_once(modules, tmp_path, monkeypatch):
    drives, figures = modules
    described = []

    class Counting(PixelExtractor):
        @classmethod
        def from_checkpoint(cls, name):
            return cls()

        def describe(self, images):
            described.append(len(images))
            return super().describe(images)

    monkeypatch.setattr(drives, "DescriptorExtractor", Counting)
    for name, seed, light in (("first", 1, 1.0), ("second", 2, 0.8), ("foreign", 3, 1.0)):
        wall = panorama(9 if name == "foreign" else 1)
        (tmp_path / name).mkdir()
        for i, observation in enumerate(frames_of(wall, np.arange(0, 60, 2.0), light, seed=seed)):
            (tmp_path / name / f"{i:03d}.png").write_bytes(encode(observation.image, "png"))
    first, second, foreign = (drives.folder_drive([tmp_path / name]) for name in ("first", "second", "foreign"))
    for _ in range(2):
        extractor = drives.RememberingExtractor("any", tmp_path / "descriptors")
        drives.make_map(tmp_path / "map.vpr", first, extractor)
        answers = drives.ask(tmp_path / "map.vpr", second, extractor, False)
        away = drives.ask(tmp_path / "map.vpr", foreign, extractor, False)
        extractor.save()
    assert sum(described) == 90
    rows = np.arange(30)
    known = figures.figures(figures.Frames.of(answers, truth_from_frames(rows, rows + 1, rows, 2)))
    assert known["on"] == 30 and known["R@1"] > 0.9
    frames = figures.Frames.of(answers, truth_from_frames(rows, rows + 1, rows, 2))
    for least in (answers.usual, float(np.median(frames.stated))):
        rules = RecognitionConfig(decision=DecisionConfig(accept_probability=least))
        with Pipeline.open(PipelineConfig(tmp_path / "map.vpr", recognition=rules), Health(), extractor) as pipeline:
            run = [pipeline.process(o).recognition.status == "accepted" for o in drives.observations(second, False)]
        assert (frames.free & (frames.stated >= least)).tolist() == run
    assert any(run) and answers.usual == DecisionConfig().accept_probability and np.isnan(known["p(.99)"])
    strange = figures.figures(figures.Frames.of(away, figures.off_the_map(30)))
    assert strange["off"] == 30 and strange["on"] == 0 and 0 <= strange["max p"] <= 1
    figures.write_pictures(tmp_path, "walk", figures.Frames.of(answers, truth_from_frames(rows, rows + 1, rows, 2)))
    assert {path.name for path in tmp_path.glob("walk*")} == {"walk_pr.png", "walk_reliability.png"}
