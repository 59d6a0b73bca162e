"""The demo: what it drives, what it prints, and (slow) a short one from end to end."""

import json
import re

import numpy as np
import pytest

from vpr_ros.cli.demo import closing_lines
from vpr_ros.training.synthetic.demo import (
    CAMERAS,
    CONDITIONS,
    DemoConfig,
    condition_drive,
    map_drive,
    places_picture,
    query_drive,
)
from vpr_ros.training.synthetic.kinds import FIRST_TEST_SEED

LAST_LINE = re.compile(
    r"demo: recall@1=\S+ recall@5=\S+ accepted_precision=\S+ offmap_false_accepts=\S+ fps=\d+(\.\d+)?"
)


def test_the_drives_are_long_enough_and_in_test_cities():
    config = DemoConfig()
    first, second = map_drive(config), query_drive(config)
    on_map = second.cities == first.cities[0]
    assert on_map.sum() >= 300 and (~on_map).sum() >= 300
    steps = np.linalg.norm(np.diff(second.T_map_base[on_map, :2, 3], axis=0), axis=1)
    assert steps.sum() >= 1000
    assert min(first.cities.min(), second.cities.min()) >= FIRST_TEST_SEED
    assert second.conditions.light == "dusk" and second.conditions.season != first.conditions.season
    assert second.stamps_ns[0] > first.stamps_ns[-1]


def test_on_map_frames_have_a_mapped_place_and_others_have_none():
    config = DemoConfig()
    first, second = map_drive(config), query_drive(config)
    gaps = np.linalg.norm(second.T_map_base[:, None, :2, 3] - first.T_map_base[None, :, :2, 3], axis=-1).min(axis=1)
    on_map = second.cities == first.cities[0]
    assert gaps[on_map].max() <= 10.0 and gaps[~on_map].min() > 1000.0


def test_conditions_follow_the_map_with_both_cameras():
    config = DemoConfig()
    first = map_drive(config)
    for condition in CONDITIONS:
        fixed, differing = (condition_drive(config, condition, camera) for camera in CAMERAS)
        assert fixed.camera == first.camera != differing.camera
        assert len(fixed) == len(differing) == len(first.stamps_ns[:: config.every_nth])
        np.testing.assert_allclose(fixed.along_m, first.along_m[:: config.every_nth])


def test_closing_lines_have_the_form_that_scripts_read():
    figures = {
        "recall@1": 0.9,
        "recall@5": 1.0,
        "accepted_precision": float("nan"),
        "offmap_false_accepts": 0.0,
        "fps": 41.27,
    }
    counts, last = closing_lines(figures, {"accepted": 5, "queries": 7, "offmap_frames": 9})
    assert counts == "accepted=5 queries=7 offmap_frames=9"
    assert LAST_LINE.fullmatch(last) and last.endswith("fps=41.3") and "recall@1=0.900" in last


def test_places_picture_puts_images_in_rows_and_columns():
    red, blue = (np.full((12, 16, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    picture = places_picture([[red, blue], [blue, red]], tile=(6, 8), gap=2)
    assert picture.shape == (14, 18, 3)
    assert picture[0, 0].tolist() == picture[13, 17].tolist() == [200, 0, 0]
    assert picture[0, 17].tolist() == [0, 0, 200] and picture[7, 9].tolist() == [255, 255, 255]


@pytest.mark.slow
def test_a_short_demo_runs_from_end_to_end(checkpoint, vpr, tmp_path):
    out = tmp_path / "demo"
    result = vpr("demo", "--out", out, "-c", checkpoint, "--length-m", 90, "--offmap-m", 45, "--workers", 1)
    assert result.exit_code == 0, (result.output, result.exception)
    lines = result.output.strip().splitlines()
    assert LAST_LINE.fullmatch(lines[-1]) and lines[-2] == "accepted=0 queries=30 offmap_frames=15"
    facts = json.loads((out / "demo.json").read_text(encoding="utf-8"))
    assert len(facts["conditions"]) == 8
    assert (out / "run" / "report.html").stat().st_size > 100_000 and (out / "places.jpg").exists()
    assert (out / "bags" / "first").is_dir() and (out / "bags" / "second" / "second.db3").exists()
