"""From the drives of a training set to its pairs, and what a training then knows."""

import numpy as np
import pytest
from scanned_street import LENGTH_M, STEP_M, drive, street
from typer.testing import CliRunner

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.offline.crossing import CrossingConfig
from vpr_ros.offline.crossing.checking import check_pairs
from vpr_ros.offline.crossing.of_set import pairs_of_set
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training_set import TrainingSetWriter, read_frame_table
from vpr_ros.training_set.pairs import read_pairs, write_pairs

pytest.importorskip("small_gicp")

COUNT = int(LENGTH_M / STEP_M) + 1
CONFIG = CrossingConfig(every=4)


def write(folder, name, clouds, T, poses, stamps=0, city="town"):
    with TrainingSetWriter(folder, name, city) as writer:
        for i, cloud in enumerate(clouds):
            pose = None if poses == "none" else T[i]
            writer.add(stamps + i * 10**9, np.zeros((16, 16, 3), np.uint8), pose, cloud, poses)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A drive by odometry; one without poses that goes the same street and, behind it, another one; the truth of both."""
    out = tmp_path_factory.mktemp("sets")
    day, T_day = drive(street(1), 1, scale=1.01)
    night, T_night = drive(street(1), 2, across_m=1.0)
    beyond, T_beyond = drive(street(7), 3, across_m=1.0)
    T_beyond = planar_transform(LENGTH_M + STEP_M, 0, 0) @ T_beyond
    clouds, T_whole = [*night.clouds, *beyond.clouds], np.concatenate([T_night, T_beyond])
    write(out / "set", "day", day.clouds, day.T_odom_base, "odometry")
    write(out / "set", "night", clouds, T_whole, "none", 10**12)
    write(out / "true", "day", day.clouds, T_day, "map")
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
    assert found.frames == (COUNT, 2 * COUNT) and found.pairs.examined
    checked = check_pairs(table, found, truth)
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
    assert checked.right == checked.pairs - len(rows)
    with pytest.raises(VprError, match="drives 'day' and 'night' cannot be checked"):
        check_pairs(table, found, table)


def test_training_knows_what_the_clouds_know(folders, found):
    write_pairs(folders[0], [found.pairs])
    samples = TrainingSetSamples(folders[0])
    day, night = (np.flatnonzero(samples.drives == name) for name in ("day", "night"))
    gaps = samples.nearness.gaps(night[:, None], day[None])
    near = gaps.near(4.0, 0.35)
    apart = np.abs(np.arange(2 * COUNT)[:, None] - np.arange(COUNT)[None]) * STEP_M
    assert near[:COUNT].any(axis=1).mean() > 0.9 and (apart[near] < 4.0).all()
    behind = gaps.least_m[2 * COUNT - 3 :]  # of the other street, far behind the last pair
    assert np.isinf(behind).mean() > 0.8, "examined, and nothing is alike: another place"


def test_drives_that_do_not_cross_leave_everything_open(tmp_path):
    (day, T), (other, T_other) = drive(street(1), 1), drive(street(7), 2)
    write(tmp_path, "day", day.clouds, T, "odometry")
    write(tmp_path, "other", other.clouds, T_other, "odometry", 10**12)
    (one,) = pairs_of_set(read_frame_table(tmp_path), config=CrossingConfig(every=6))
    assert not len(one.pairs.frames) and not one.pairs.examined and not len(one.placed[0])
    write_pairs(tmp_path, [one.pairs])
    assert read_pairs(tmp_path) == []
    samples = TrainingSetSamples(tmp_path)
    assert samples.nearness.gaps(0, np.arange(COUNT, 2 * COUNT)).unknown(10.0).all()


def test_maps_need_no_pairs(folders, tmp_path):
    with pytest.raises(VprError, match="no two drives of a city can be compared"):
        pairs_of_set(read_frame_table(folders[1]))
    day, T = drive(street(1), 1)
    write(tmp_path, "alone", day.clouds, T, "odometry")
    write(tmp_path, "away", day.clouds, T, "odometry", 10**12, city="other")
    with pytest.raises(VprError, match="no two drives of a city can be compared"):
        pairs_of_set(read_frame_table(tmp_path))


def test_the_command(folders, monkeypatch):
    from vpr_ros.cli import app

    monkeypatch.setattr(CrossingConfig, "__init__", _with_every(CrossingConfig.__init__, 6))
    run = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["pairs", str(folders[0]), "--check", str(folders[1])])
    assert run.exit_code == 0, run.output
    assert "pairs of 2 drives, with another drive's place known for" in run.output
    assert "1 of 1 pairs of drives cross" in run.output
    assert "100.0% of" in run.output and "passing frames are placed" in run.output
    assert len(read_pairs(folders[0])) == 1
    nothing = CliRunner().invoke(app, ["pairs", str(folders[0] / "images")])
    assert nothing.exit_code == 2 and "is no training set" in nothing.output


def _with_every(make, every):
    return lambda self, **settings: make(self, **{"every": every, **settings})
