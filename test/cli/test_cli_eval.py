"""`vpr_ros eval`: a call without a command names the right one, and defaults are those of the configurations."""

import inspect

import pytest

from vpr_ros.cli.evaluating.drives import evaluate_drives, evaluate_submaps
from vpr_ros.cli.evaluating.folders import evaluate_image_folders
from vpr_ros.cli.evaluating.run import evaluate_run_folder
from vpr_ros.offline.evaluate_run import TruthConfig


@pytest.mark.parametrize(
    "arguments, command",
    [
        (["out", "--map-bag", "first.mcap", "--query-bag", "second.mcap"], "run OUT"),
        (["out", "--truth", "pairs.csv"], "run OUT"),
        (["--truth", "pairs.csv", "out"], "run OUT"),
        (["run", "--map-bag", "first.mcap", "--query-bag", "second.mcap"], "run OUT"),
        (["--database", "summer", "--queries", "winter"], "folders --database"),
        (["--truth=names", "--queries=winter", "--database=summer"], "folders --database"),
        (["--drives", "one", "--drives", "two", "-o", "tables"], "drives FOLDER"),
        (["--submaps", "benchmark", "--images", "pictures"], "submaps FOLDER"),
    ],
)
def test_a_call_in_the_former_form_names_the_new_command(vpr, arguments, command):
    result = vpr("eval", *arguments)
    assert result.exit_code == 2 and result.stdout == ""
    assert f"`vpr_ros eval {command}" in " ".join(result.stderr.split())
    assert len(result.stderr.strip().splitlines()) == 1 and "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["run", "folders", "drives", "submaps"])
def test_each_command_shows_its_own_help(vpr, command):
    text = vpr("eval", command, "--help").output
    assert f"vpr_ros eval {command} " in text
    assert f"vpr_ros eval {command} " in vpr("eval", "--help").output


def test_defaults_are_those_of_the_configurations():
    from vpr_ros.training.evaluation import evaluate_model, evaluate_split

    def default(function, name):
        return inspect.signature(function).parameters[name].default

    assert default(evaluate_run_folder, "radius_m") == TruthConfig.radius_m
    assert default(evaluate_run_folder, "tolerance") == TruthConfig.tolerance_frames
    assert default(evaluate_drives, "radius_m") == default(evaluate_model, "radius_m")
    assert default(evaluate_drives, "measure") == default(evaluate_model, "measure")
    assert default(evaluate_submaps, "measure") == default(evaluate_split, "measure")
    assert default(evaluate_drives, "pca_dim") == default(evaluate_image_folders, "pca_dim") == 512
