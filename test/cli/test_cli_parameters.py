"""`--config`, `--set` and `vpr_ros parameters`: the node's parameters on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import assert_sentence

from vpr_ros.place_map import PlaceMap
from vpr_ros.recognition import Calibration
from vpr_ros.runtime.parameters.reading import COMMANDS, parameters_of
from vpr_ros.runtime.parameters.tables import VPR_PARAMETERS

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "vpr.yaml"


@pytest.fixture
def localized(bags, first_map, checkpoint, vpr, tmp_path):
    def call(*options):
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        result = vpr(
            "localize", bags["second"], "--map", first_map, "-o", out, "-c", checkpoint, "--no-report", *options
        )
        assert result.exit_code == 0, result.output
        records = [json.loads(line) for line in (out / "matches.jsonl").read_text(encoding="utf-8").splitlines()]
        return records, json.loads((out / "run.json").read_text(encoding="utf-8"))

    return call


def test_the_shipped_parameter_file_changes_nothing(localized, run_folder):
    records, run = localized("--config", SHIPPED)
    lines = (run_folder / "matches.jsonl").read_text(encoding="utf-8").splitlines()
    assert records == [json.loads(line) for line in lines]
    assert run["parameters"] == {}
    assert run["network"] == {"device": "cpu", "precision": "fp32", "threads": 1}


def test_a_threshold_by_option_accepts_what_reaches_it_and_run_json_tells_what_differs(localized, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("accept_probability: 0.9\nmin_margin: 0.0\nbase_frame: robot\n", encoding="utf-8")
    options = ("--config", file, "--set", "accept_probability=0.8", "--set", "max_places=4")
    records, run = localized(*options, "--accept-probability", 0.02)
    assert run["parameters"] == {
        "accept_probability": 0.02,
        "min_margin": 0.0,
        "max_places": 4,
        "base_frame": "robot",
    }
    assert run["config"]["recognition"]["decision"]["accept_probability"] == 0.02
    assert run["config"]["recognition"]["max_places"] == 4
    for record in records:
        best = max([h["probability"] for h in record["hypotheses"]], default=0.0)
        if record["status"] == "rejected":
            assert best < 0.02 or record["reason"] in ("unsupported", "unconfirmed")
    assert any(r["status"] == "accepted" for r in records)
    _, run = localized(*options)
    assert run["parameters"]["accept_probability"] == 0.8


def test_an_option_that_is_given_with_its_default_wins_over_the_file(localized, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("accept_probability: 0.5\n", encoding="utf-8")
    _, run = localized("--config", file, "--accept-probability", 0.95)
    assert run["parameters"] == {}


def test_a_run_that_accepts_nothing_says_what_to_try(bags, first_map, checkpoint, run_folder, vpr, tmp_path):
    call = ("localize", bags["second"], "--map", first_map, "-c", checkpoint, "--no-report", "-o", tmp_path / "run")
    result = vpr(*call, "--accept-probability", 1.0)
    assert result.exit_code == 0 and "0 of 30 frames were accepted" in result.output
    assert "1.00 is needed" in result.output and "vpr_ros calibrate" in result.output
    evaluated = vpr("eval", "run", tmp_path / "run", "--map-bag", bags["first"], "--query-bag", bags["second"])
    assert evaluated.exit_code == 0 and "0 of 30 frames on the map were accepted" in evaluated.output


def test_map_takes_the_gate_by_the_nodes_names_and_by_its_own_options(bags, checkpoint, vpr, tmp_path):
    options = ("--odom-topic", "none", "--pose-topic", "none", "-c", checkpoint)
    for name, given, keyframes in (
        ("set", ("--set", "keyframe_every=5"), 6),
        ("field", ("--set", "gate.every_n=5", "--set", "place_radius=3"), 6),
        ("option", ("--set", "keyframe_every=5", "--keyframe-every", 10), 3),
    ):
        path = tmp_path / f"{name}.vpr"
        result = vpr("map", bags["first"], "-o", path, *options, *given)
        assert result.exit_code == 0, result.output
        with PlaceMap.open(path) as place_map:
            assert len(place_map) == keyframes
            assert place_map.place_radius_m == (3.0 if name == "field" else 2.0)
            assert np.isnan(place_map.keyframes().T_odom_base).all()


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_parameters_are_listed_and_written_as_a_file_that_is_read_back(vpr, command, tmp_path):
    arguments = ("parameters",) if command is None else ("parameters", command)
    rows = {p.name: p for p in VPR_PARAMETERS} if command is None else parameters_of(command)
    listed = vpr(*arguments)
    assert listed.exit_code == 0
    for name in rows:
        assert f" {name} " in listed.output
    text = vpr(*arguments, "--yaml").output
    assert yaml.safe_load(text) == {"/**": {"ros__parameters": {name: p.default for name, p in rows.items()}}}
    if command is None:
        assert text == SHIPPED.read_text(encoding="utf-8")


def test_bad_parameters_are_one_sentence_and_nothing_is_written(bags, first_map, vpr, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("/**:\n  ros__parameters:\n    top_k: many\n", encoding="utf-8")
    out = tmp_path / "run"
    call = ("localize", bags["second"], "--map", first_map, "-o", out)
    assert_sentence(vpr(*call, "--config", file), file, "top_k", "'many'", "integer", "1 to 10000")
    assert_sentence(vpr(*call, "--config", tmp_path / "none.yaml"), "none.yaml", "does not exist")
    assert_sentence(vpr(*call, "--set", "min_margins=0.1"), "--set", "is min_margin meant?")
    assert_sentence(vpr(*call, "--accept-probability", 1.2), "--accept-probability", "1.2", "0 to 1")
    assert_sentence(vpr(*call, "--accept-probability", 0.1), "min_margin 0.2")
    assert_sentence(vpr(*call, "--set", "keyframe_every=2"), "keyframe_every", "`vpr_ros map`")
    assert_sentence(vpr("map", bags["first"], "-o", out, "--set", "top_k=3"), "top_k", "`vpr_ros localize`")
    assert_sentence(vpr("parameters", "merge"), "merge", "localize or map")
    assert not out.exists()


def test_a_precision_is_turned_into_the_probability_that_the_calibration_knows(
    bags, first_map, checkpoint, vpr, tmp_path
):
    arguments = ("localize", bags["second"], "--map", first_map, "-c", checkpoint, "--no-report")
    result = vpr(*arguments, "-o", tmp_path / "a", "--precision", 0.9)
    assert_sentence(result, "vpr_ros calibrate")  # this checkpoint has no calibration at all
    result = vpr(*arguments, "-o", tmp_path / "a", "--precision", 0.9, "--accept-probability", 0.95)
    assert_sentence(result, "exclude each other")
    result = vpr(*arguments, "-o", tmp_path / "a", "--precision", 0.9, "--set", "accept_probability=0.7")
    assert_sentence(result, "exclude each other")
    town = tmp_path / "town.vpr"
    town.write_bytes(first_map.read_bytes())
    assert vpr("calibrate", town, "--bag", bags["second"], "--map-bag", bags["first"], "-c", checkpoint).exit_code == 0
    arguments = ("localize", bags["second"], "--map", town, "-c", checkpoint, "--no-report")
    result = vpr(*arguments, "-o", tmp_path / "a", "--precision", 0.9)
    assert result.exit_code == 0 and "precision 0.9" in result.stdout
    run = json.loads((tmp_path / "a" / "run.json").read_text(encoding="utf-8"))
    with PlaceMap.open(town) as place_map:
        calibration = Calibration.from_dict(place_map.get_calibration())
    assert run["accepted_from"]["odometry"] == calibration.odometry.threshold(0.9).probability
    assert run["parameters"]["accept_precision"] == 0.9
