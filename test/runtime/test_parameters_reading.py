"""Parameters of the commands: the node's names and defaults, from a file, from --set, from options, in that order."""

from dataclasses import fields
from operator import attrgetter
from pathlib import Path

import pytest
import yaml

from vpr_ros.configuration import DecisionConfig, RecognitionConfig
from vpr_ros.errors import VprError
from vpr_ros.runtime.input_settings import InputSettings
from vpr_ros.runtime.parameters.documents import yaml as yaml_of
from vpr_ros.runtime.parameters.reading import COMMANDS, chosen, parameters_of, used_by, values_of_file
from vpr_ros.runtime.parameters.tables import RECORDER_PARAMETERS, VPR_PARAMETERS
from vpr_ros.runtime.parameters.values import DECISION, DRIVE, changed, decision_config, drive_config, pipeline_config
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors.bags.config import DriveConfig

ROOT = Path(__file__).resolve().parents[2]
ROWS = {p.name: p for p in VPR_PARAMETERS}
# Parameters that only a running node has: where messages come from, how long it waits, what it writes on the side.
NODE_ONLY = {
    "mode",
    "map_path",
    "compressed",
    "image_reliability",
    "image_depth",
    "points_reliability",
    "odom_reliability",
    "odom_source",
    "pose_source",
    "pose_wait_s",
    "cloud_wait_s",
    "publish_tf",
    "tf_planar",
    "tf_tolerance_s",
    "tf_max_std_m",
    "tf_odom_drift",
    "tf_correction_m_s",
    "tf_correction_deg_s",
    "local_budget_s",
    "rate_limit_hz",
    "image_timeout_s",
    "stamps_log",
}


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_commands_take_all_parameters_of_the_node_but_those_of_a_running_node():
    assert {p.name for p in VPR_PARAMETERS if not used_by(p)} == NODE_ONLY
    for command in COMMANDS:
        assert all(p is ROWS[name] for name, p in parameters_of(command).items())


def test_every_rule_of_acceptance_is_one_of_them_but_the_support_by_the_frame_itself():
    assert set(DECISION) == {f.name for f in fields(DecisionConfig)} - {"require_support"}
    assert set(DECISION) <= set(parameters_of("localize"))


def test_a_default_is_that_of_the_field_that_the_row_names():
    for p in VPR_PARAMETERS:
        if p.target:
            value = attrgetter(p.target)(PipelineConfig())
            assert p.default == (p.none if value is None else value), p.name
            assert p.field_value(p.default) == value
    for name in DRIVE:
        assert ROWS[name].default == getattr(DriveConfig(), name) == getattr(InputSettings(), name)


@pytest.mark.parametrize("p", [p for p in VPR_PARAMETERS if p.target and p.name != "mode"], ids=lambda p: p.name)
def test_each_row_sets_its_field_and_no_other_and_run_json_tells_it(p):
    kind = type(p.default)
    value = {bool: True, str: "fp16" if p.choices else "other", int: 7, float: 0.75}[kind]
    config = pipeline_config({p.name: value})
    assert attrgetter(p.target)(config) == value
    for other in VPR_PARAMETERS:
        if other.target and other is not p:
            assert attrgetter(other.target)(config) == attrgetter(other.target)(PipelineConfig())
    told = {} if p.name in ("map_path", "checkpoint", "session") else {p.name: value}
    assert changed(config) == told


def test_nothing_differs_from_the_defaults_without_values_and_none_is_told_as_its_stand_in():
    assert changed(PipelineConfig(), DriveConfig()) == {}
    zero = PipelineConfig(recognition=RecognitionConfig(drive_mean_frames=0.0))
    assert changed(zero, DriveConfig(base_frame="robot")) == {"drive_mean_frames": 0.0, "base_frame": "robot"}
    assert drive_config({"base_frame": "robot", "top_k": 3}) == DriveConfig(base_frame="robot")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_nodes_own_parameter_file_gives_the_defaults(command):
    values = values_of_file(ROOT / "config" / "vpr.yaml", command)
    assert values == {name: p.default for name, p in parameters_of(command).items()}
    assert pipeline_config(values) == PipelineConfig()
    assert drive_config(values) == DriveConfig()


def test_all_ways_to_write_a_file_are_the_same(written):
    wanted = {"accept_probability": 0.8, "top_k": 20}
    for text in (
        "/**:\n  ros__parameters:\n    accept_probability: 0.8\n    top_k: 20\n    use_sim_time: true\n",
        "front:\n  vpr:\n    ros__parameters: {accept_probability: 0.8, top_k: 20}\n"
        "amcl:\n  ros__parameters: {alpha1: 0.2, base_frame: foot}\n",
        "/front/vpr:\n  ros__parameters: {accept_probability: 0.8, top_k: 20, qos_overrides: {/image: {depth: 3}}}\n",
        "accept_probability: 0.8\ntop_k: 20\nimage_depth: 1\nspacing_m: 2.0\n",
        "recognition:\n  top_k: 20\n  decision: {accept_probability: 8.0e-1}\n",
        "decision: {accept_probability: 8e-1}\ntop_k: '20'\n",
    ):
        assert values_of_file(written(text), "localize") == wanted, text
    assert values_of_file(written("gate: {distance_m: 3, every_n: 2}"), "map") == {
        "keyframe_distance_m": 3.0,
        "keyframe_every": 2,
    }


def test_options_win_over_set_and_set_over_the_file(written):
    file = written("accept_probability: 0.6\nmin_margin: 0.1\ntop_k: 11\n")
    values = chosen(
        "localize",
        file,
        ["accept_probability=0.7", "min_margin=0.15", "min_margin=0.05"],
        {"accept_probability": ("--accept-probability", 0.8)},
    )
    assert values == {"accept_probability": 0.8, "min_margin": 0.05, "top_k": 11}
    assert decision_config(values) == DecisionConfig(accept_probability=0.8, min_margin=0.05)
    assert chosen("map", None, ["gate.distance_m=3", "keep_clouds=yes"]) == {
        "keyframe_distance_m": 3.0,
        "keep_clouds": True,
    }


def test_of_two_ways_to_say_what_is_accepted_the_typed_one_replaces_the_files(written):
    file = written("accept_probability: 0.8\nmin_margin: 0.1\n")
    assert chosen("localize", file, ["accept_precision=0.99"]) == {"accept_precision": 0.99, "min_margin": 0.1}
    file = written("accept_probability: 0.95\naccept_precision: 0.99\n")
    option = {"accept_probability": ("--accept-probability", 0.95)}  # the default, but typed
    assert chosen("localize", file, (), option) == {"accept_probability": 0.95}
    assert chosen("localize", file)["accept_precision"] == 0.99
    assert chosen("localize", file, ["accept_precision=0"], option)["accept_probability"] == 0.95
    for assignments, options in (
        (["accept_precision=0.9"], option),
        (["accept_precision=0.9", "accept_probability=0.95"], {}),
    ):
        with pytest.raises(VprError, match="exclude each other"):
            chosen("localize", None, assignments, options)


@pytest.mark.parametrize(
    "assignment, words",
    [
        ("accept_probabilty=0.9", ("--set", "accept_probabilty", "is accept_probability meant?")),
        ("zzzz=1", ("zzzz", "vpr_ros parameters")),
        ("accept_probability", ("NAME=VALUE",)),
        ("=0.9", ("no parameter ''",)),
        ("accept_probability=", ("accept_probability", "''", "double")),
        ("accept_probability=high", ("accept_probability", "'high'", "double", "0 to 1")),
        ("accept_probability=1.5", ("--set", "accept_probability", "1.5", "0 to 1")),
        ("accept_probability=-0.1", ("-0.1", "0 to 1")),
        ("accept_probability=nan", ("nan", "0 to 1")),
        ("top_k=2.5", ("top_k", "'2.5'", "integer", "1 to 10000")),
        (f"top_k={10**400}", ("top_k", "1 to 10000")),
        (f"drive_mean_frames={10**400}", ("drive_mean_frames", "inf")),
        ("top_k=0", ("top_k", "1 to 10000")),
        ("verify=true", ("verify", "'true'", "none, camera, lidar, auto")),
        ("precision=fp64", ("precision", "'fp64'", "auto, fp32, fp16, bf16")),
        ("keyframe_every=3", ("keyframe_every", "`vpr_ros map`")),
        ("image_depth=3", ("image_depth", "the node")),
        ("drive_mean_frames=-0.5", ("drive_mean_frames",)),
        ("accept_probability=0.1", ("min_margin 0.2 is above accept_probability 0.1",)),
        ("base_frame= ", ("base_frame is empty",)),
    ],
)
def test_a_bad_assignment_is_one_sentence(assignment, words):
    with pytest.raises(VprError) as error:
        pipeline_config(chosen("localize", None, [assignment]))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ("sets nothing",)),
        ("- 1\n- 2\n", ("sets nothing",)),
        ("just words", ("sets nothing",)),
        ("a: [1, 2", ("cannot be read",)),
        ("a: &a {b: *a}", ("alias", "*a")),
        ("accept_probability:\n", ("accept_probability", "no value")),
        ("accept_probability: [0.9]\n", ("accept_probability", "[0.9]", "double")),
        ("accept_probability: true\n", ("accept_probability", "True", "double")),
        ("top_k: 3.0\n", ("top_k", "3.0", "integer")),
        (f"max_gap_s: {10**400}\n", ("max_gap_s", "double")),
        ("verify: true\n", ("verify", "True", "none, camera, lidar, auto")),
        ("base_frame: 3\n", ("base_frame", "3", "string")),
        ("accept_probability: .inf\n", ("accept_probability", "inf", "0 to 1")),
        ("decision: {accept_prob: 0.5}\n", ("decision.accept_prob", "is accept_probability meant?")),
        ("top_k: 3\nrecognition: {top_k: 4}\n", ("top_k", "given twice")),
        ("amcl:\n  ros__parameters: {top_k: 3}\n", ("sets nothing", "vpr")),
        ("!!python/object/apply:os.system ['true']", ("cannot be read",)),
    ],
)
def test_a_bad_file_is_one_sentence_that_names_it(written, text, words):
    path = written(text)
    with pytest.raises(VprError) as error:
        values_of_file(path, "localize")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_file_that_is_missing_or_binary_is_one_sentence(tmp_path):
    (tmp_path / "picture.yaml").write_bytes(bytes(range(256)))
    for path in (tmp_path / "none.yaml", tmp_path / "picture.yaml", tmp_path):
        with pytest.raises(VprError, match="cannot be read"):
            values_of_file(path, "localize")


def test_the_recorders_file_says_nothing_of_matching():
    assert set(yaml.safe_load(yaml_of(RECORDER_PARAMETERS))["/**"]["ros__parameters"]) == {
        p.name for p in RECORDER_PARAMETERS
    }
    assert set(values_of_file(ROOT / "config" / "recorder.yaml", "localize")) == set(DRIVE)
