"""From the drives of a training set to its pairs, and what a training then knows."""

import numpy as np
import pytest
from scanned_streets import box_street, drifting, drive_on, scans
from typer.testing import CliRunner

from vpr_ros.cli import app
from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.offline.crossing import CrossingConfig
from vpr_ros.offline.crossing.checking import check_pairs, need_truth
from vpr_ros.offline.crossing.of_set import pairs_of_set
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training_set import TrainingSetWriter, read_frame_table
from vpr_ros.training_set.pairs import read_pairs, write_pairs
from vpr_ros.verification import VerificationConfig

pytest.importorskip("small_gicp")

LINE = np.array([(0, 0), (150, 0)])
STEP_M, COUNT, BEYOND = 2.0, 24, 30
CONFIG = CrossingConfig(
    every=5,
    candidates=2,
    sequence_m=10.0,
    registration=VerificationConfig(normal_points=20, min_agreement=0.05, kiss_matcher=False, turns=1, steps_m=(0.0,)),
)


def drive(world, seed, beside_m=0.0, count=COUNT):
    """Clouds and true poses of a drive of so many frames along a street."""
    T = drive_on(LINE, 10.0, 10.0 + count * STEP_M, STEP_M, beside_m)
    return scans(world, T, seed), T


def write(folder, name, clouds, T, poses, stamps=0, city="town"):
    with TrainingSetWriter(folder, name, city) as writer:
        for i, cloud in enumerate(clouds):
            pose = None if poses == "none" else T[i]
            writer.add(stamps + i * 10**9, np.zeros((16, 16, 3), np.uint8), pose, cloud, poses)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A drive by odometry; one without poses on the same street and, behind it, another one; the truth of both."""
    out = tmp_path_factory.mktemp("sets")
    day, T_day = drive(box_street(LINE, 1), 1)
    night, T_night = drive(box_street(LINE, 1), 2, 1.0)
    beyond, T_beyond = drive(box_street(LINE, 7), 3, 1.0, BEYOND)
    T_beyond = planar_transform(COUNT * STEP_M, 0, 0) @ T_beyond
    clouds, T_whole = [*night, *beyond], np.concatenate([T_night, T_beyond])
    write(out / "set", "day", day, drifting(T_day, 1), "odometry")
    write(out / "set", "night", clouds, T_whole, "none", 10**12)
    write(out / "true", "day", day, T_day, "map")
    write(out / "true", "night", clouds, T_whole, "map", 10**12)
    return out / "set", out / "true"


@pytest.fixture(scope="module")
def found(folders):
    calls = []
    (one,) = pairs_of_set(read_frame_table(folders[0]), config=CONFIG, progress=lambda *c: calls.append(c))
    assert calls and [done for done, _ in calls] == list(range(1, len(calls) + 1)) and calls[-1][0] == calls[-1][1]
    return one


def test_pairs_are_right_and_cover_the_street(folders, found):
    table, truth = read_frame_table(folders[0]), read_frame_table(folders[1])
    assert (found.pairs.drive_a, found.pairs.drive_b, found.city) == ("day", "night", "town")
    assert found.frames == (COUNT, COUNT + BEYOND) and found.pairs.examined
    checked = check_pairs(table, found, truth)
    assert checked is not None
    assert checked.pairs == found.pairs.confirmed.sum() > 5 * COUNT, "each frame with all that are beside it"
    assert checked.precision == 1.0 and checked.median_m < 0.1
    assert checked.passing >= COUNT and checked.recall > 0.9
    assert len(found.placed[0]) == COUNT and COUNT <= len(found.placed[1]) < 1.6 * COUNT


def test_wrong_pairs_are_counted(folders, found):
    table, truth = read_frame_table(folders[0]), read_frame_table(folders[1])
    moved = found.pairs.T_a_b.copy()
    rows = np.flatnonzero(found.pairs.confirmed)[::2]
    moved[rows, 0] += 3.0
    wrong = type(found)(
        type(found.pairs)(**{**vars(found.pairs), "T_a_b": moved}), found.city, found.frames, found.placed
    )
    checked = check_pairs(table, wrong, truth)
    assert checked is not None and checked.right == checked.pairs - len(rows)
    assert check_pairs(table, found, table) is None
    with pytest.raises(VprError, match="true poses in one map frame are needed for two of the set's drives"):
        need_truth(table, table)


def test_training_knows_what_the_clouds_know(folders, found):
    write_pairs(folders[0], [found.pairs])
    samples = TrainingSetSamples(folders[0])
    day, night = (np.flatnonzero(samples.drives == name) for name in ("day", "night"))
    gaps = samples.nearness.gaps(night[:, None], day[None])
    near = gaps.near(4.0, 0.35)
    apart = np.abs(np.arange(COUNT + BEYOND)[:, None] - np.arange(COUNT)[None]) * STEP_M
    assert near[:COUNT].any(axis=1).mean() > 0.9 and (apart[near] < 4.0).all()
    behind = gaps.least_m[-3:]  # of the other street, far behind the last pair
    assert np.isinf(behind).mean() > 0.8, "examined, and nothing is alike: another place"


def test_drives_that_do_not_cross_leave_everything_open(tmp_path):
    (day, T), (other, T_other) = drive(box_street(LINE, 1), 1), drive(box_street(LINE, 7), 2)
    write(tmp_path, "day", day, T, "odometry")
    write(tmp_path, "other", other, T_other, "odometry", 10**12)
    (one,) = pairs_of_set(read_frame_table(tmp_path), config=CONFIG)
    assert not len(one.pairs.frames) and not one.pairs.examined and not len(one.placed[0])
    write_pairs(tmp_path, [one.pairs])
    assert read_pairs(tmp_path) == []
    samples = TrainingSetSamples(tmp_path)
    assert samples.nearness.gaps(0, np.arange(COUNT, 2 * COUNT)).unknown(10.0).all()


def test_maps_need_no_pairs(folders, tmp_path):
    with pytest.raises(VprError, match="no two drives of a city can be compared"):
        pairs_of_set(read_frame_table(folders[1]))
    day, T = drive(box_street(LINE, 1), 1)
    write(tmp_path, "alone", day, T, "odometry")
    write(tmp_path, "away", day, T, "odometry", 10**12, city="other")
    with pytest.raises(VprError, match="no two drives of a city can be compared"):
        pairs_of_set(read_frame_table(tmp_path))


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("vpr_ros.offline.crossing.of_set.CrossingConfig", lambda: CONFIG)  # fewer registrations
    for number, name in enumerate(("day", "night")):
        clouds, T = drive(box_street(LINE, 1), number + 1, float(number))
        write(tmp_path / "set", name, clouds, drifting(T, number), "odometry", number * 10**12)
        write(tmp_path / "true", name, clouds, T, "map", number * 10**12)
    runner = CliRunner(env={"COLUMNS": "200"})
    run = runner.invoke(app, ["pairs", str(tmp_path / "set"), "--check", str(tmp_path / "true")])
    assert run.exit_code == 0, run.output
    said = " ".join(run.output.split())
    assert "/set/pairs.csv: " in said and "1 of 1 pairs of drives cross" in said
    assert "100.0% of" in said and "passing frames are placed" in said
    (written,) = read_pairs(tmp_path / "set")
    assert written.examined and written.confirmed.sum() > COUNT / 2
    hidden = runner.invoke(app, ["pairs", str(tmp_path / "true"), "--check", str(tmp_path / "true")])
    assert hidden.exit_code == 0, hidden.output
    assert "not written" in hidden.output and read_pairs(tmp_path / "true") == []


def test_the_command_says_what_it_lacks(folders):
    for given, said in (
        ([folders[0] / "images"], "is no training set"),
        ([folders[0], "--check", folders[0]], "the pairs cannot be checked"),
        ([folders[1]], "no two drives of a city can be compared"),
    ):
        run = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["pairs", *map(str, given)])
        assert run.exit_code == 2 and said in run.output, run.output
