"""How a bag is read, from the command line: frames, TF topics, clocks and gaps, and that it is said."""

import json

import numpy as np
import pytest

from vpr_ros.geometry import planar_transform
from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import BagWriter, Trajectory, compressed_image_msg, navsat_msg, odometry_msg, tf_msg

SECOND = 10**9
START = 1_700_000_000 * SECOND
SPEED_MPS = 5.0


@pytest.fixture(scope="module")
def two_clocks(tmp_path_factory):
    """60 pictures at 10 Hz along x at 5 m/s; odometry at 20 Hz is stamped 3.2 s too early, and arrives in time."""
    path = tmp_path_factory.mktemp("clocks") / "drive"
    rng = np.random.default_rng(0)
    with BagWriter(path) as bag:
        for i in range(-4, 130):
            t = START + i * SECOND // 20
            T = planar_transform(SPEED_MPS * i / 20, 0, 0)
            bag.write("/odom", odometry_msg(T, t - 32 * SECOND // 10), t)
            if i % 2 == 0 and 0 <= i < 120:
                picture = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
                bag.write("/camera", compressed_image_msg(picture, t), t)
    return path


def odometry_x_m(path):
    with PlaceMap.open(path) as place_map:
        keyframes = place_map.keyframes()
    return (keyframes.stamps_ns - START) * 1e-9 * SPEED_MPS, keyframes.T_odom_base[:, 0, 3]


def test_a_second_clock_is_named_and_corrected(two_clocks, checkpoint, vpr, tmp_path):
    named = vpr("doctor", two_clocks).output
    assert "odometry is stamped 3.20 s behind /camera" in named and "--odom-offset-s +3.20" in named
    town = tmp_path / "town.vpr"
    wrong = vpr("map", two_clocks, "-o", town, "-c", checkpoint, "--keyframe-every", 1)
    assert wrong.exit_code == 0 and "odometry is stamped 3.20 s behind /camera" in wrong.output
    true, found = odometry_x_m(town)
    assert np.nanmax(np.abs(found - true)) == pytest.approx(16.0, abs=0.01)  # what was done without a word
    right = tmp_path / "right.vpr"
    corrected = vpr("map", two_clocks, "-o", right, "-c", checkpoint, "--keyframe-every", 1, "--odom-offset-s", "+3.20")
    assert "note: the stamps of odometry are moved by +3.2 s" in corrected.output and "behind" not in corrected.output
    true, found = odometry_x_m(right)
    np.testing.assert_allclose(found[:-1], true[:-1], atol=1e-6)
    again = vpr("map", two_clocks, "-o", tmp_path / "set.vpr", "-c", checkpoint, "--set", "odom_offset_s=3.2")
    assert "are moved by +3.2 s" in again.output
    localized = vpr(
        *("localize", two_clocks, "-m", right, "-o", tmp_path / "run", "-c", checkpoint, "--no-report"),
        *("--odom-offset-s", 3.2),
    )
    assert localized.exit_code == 0 and "are moved by +3.2 s" in localized.output
    assert "OK    odometry" in vpr("doctor", two_clocks, "--odom-offset-s", 3.2).output


def test_a_prefixed_robot_is_read_and_named(checkpoint, vpr, tmp_path):
    path = tmp_path / "fleet"
    with BagWriter(path) as bag:
        for i in range(12):
            t = START + i * SECOND // 10
            for robot, x_m in (("robot1", i), ("robot2", 100 + i)):
                links = [(f"{robot}/odom", f"{robot}/base_link", planar_transform(x_m, 0, 0))]
                bag.write(f"/{robot}/tf", tf_msg(links, t), t)
            bag.write("/camera", compressed_image_msg(np.full((48, 64, 3), 20 * i, np.uint8), t), t)
    named = vpr("doctor", path).output
    assert "/robot1/tf" in named and "/robot2/tf" in named and "--tf-topic" in named
    chosen = vpr("doctor", path, "--tf-topic", "/robot2/tf")
    assert "TF is read from /robot2/tf; /robot1/tf not" in chosen.output
    assert "robot2/base_link for base_link, robot2/odom for odom" in chosen.output
    arguments = ("map", path, "-c", checkpoint, "--keyframe-every", 1, "--tf-topic", "/robot2/tf")
    assert vpr(*arguments, "-o", tmp_path / "two.vpr").exit_code == 0
    with PlaceMap.open(tmp_path / "two.vpr") as place_map:
        assert place_map.keyframes().T_odom_base[:, 0, 3].tolist() == list(range(100, 112))
    nowhere = vpr("map", path, "-o", tmp_path / "x.vpr", "-c", checkpoint, "--tf-topic", "/robot3/tf")
    assert nowhere.exit_code == 2 and "has no topic /robot3/tf" in nowhere.stderr and "Traceback" not in nowhere.stderr


def test_poses_of_a_sparse_trajectory_name_the_gap(two_clocks, checkpoint, vpr, tmp_path):
    """`vpr_ros poses` with a pose every 1.4 s cleared most of the map as 'outside the trajectory'."""
    town, sparse = tmp_path / "town.vpr", tmp_path / "sparse.tum"
    dense = tmp_path / "dense.tum"
    assert vpr("map", two_clocks, "-o", town, "-c", checkpoint, "--keyframe-every", 3).exit_code == 0
    times = START + np.arange(6) * 14 * SECOND // 10
    Trajectory(times, [planar_transform(i, 1, 0) for i in range(6)]).to_tum(sparse)
    Trajectory(START + np.arange(61) * SECOND // 10, [planar_transform(i, 2, 0) for i in range(61)]).to_tum(dense)
    assert "20 poses replaced, 0 cleared" in vpr("poses", town, dense).output
    refused = vpr("poses", town, sparse)
    assert refused.exit_code == 2 and "nothing was changed" in refused.stderr
    assert "gaps of up to 1.4 s between its poses, longer than --max-gap-s 1" in refused.stderr
    assert "Say --max-gap-s 1.4, or add --clear" in refused.stderr
    with PlaceMap.open(town) as place_map:
        assert place_map.keyframes().T_map_base[:, 1, 3].tolist() == [2.0] * 20
    assert "20 poses replaced, 0 cleared" in vpr("poses", town, sparse, "--max-gap-s", 1.4).output
    cleared = vpr("poses", town, sparse, "--clear")
    assert cleared.exit_code == 0 and "without a pose: " in cleared.output and "--max-gap-s 1.4" in cleared.output


def test_fixes_at_null_island_make_no_map_of_five_thousand_kilometres(checkpoint, vpr, tmp_path):
    """Three first fixes (0, 0, 500) with status 0 before 48 degrees north: length 5,260,787 m, doctor OK."""
    path, town = tmp_path / "gnss", tmp_path / "town.vpr"
    rng = np.random.default_rng(0)
    with BagWriter(path) as bag:
        for i in range(24):
            t = START + i * SECOND // 2
            latitude, longitude = (0.0, 0.0) if i < 3 else (48.0 + 1e-5 * i, 11.0)
            altitude = float("nan") if 3 <= i < 5 else 500.0
            bag.write("/fix", navsat_msg(latitude, longitude, altitude, t), t)
            picture = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            bag.write("/camera", compressed_image_msg(picture, t), t)
    named = vpr("doctor", path).output
    assert "WARN  pose: 3 poses are unusable (GNSS fix at latitude 0, longitude 0" in named
    mapped = vpr("map", path, "-o", town, "-c", checkpoint, "--keyframe-every", 1)
    assert mapped.exit_code == 0 and "skipped 3: pose unusable" in mapped.output
    assert "2 GNSS fixes do not know their altitude" in mapped.output
    facts = json.loads(vpr("info", town, "--json").stdout)
    assert facts["length_m"] == pytest.approx(20 * 1.11, abs=0.1) and facts["keyframes_with_pose"] == 21
    np.testing.assert_allclose(facts["datum"], [48.00003, 11.0, 500.0])
