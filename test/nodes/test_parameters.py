"""The tables of the nodes' parameters: complete, equal to the configurations' defaults, refused where they clash."""

import pytest
import yaml

from vpr_ros.nodes.settings import recording_config
from vpr_ros.runtime.input_settings import InputSettings
from vpr_ros.runtime.parameters.checks import unusable
from vpr_ros.runtime.parameters.documents import markdown
from vpr_ros.runtime.parameters.documents import yaml as yaml_of
from vpr_ros.runtime.parameters.tables import RECORDER_PARAMETERS, VPR_PARAMETERS
from vpr_ros.runtime.parameters.values import pipeline_config
from vpr_ros.runtime.settings import PipelineConfig, RecordingConfig
from vpr_ros.sensors import DriveConfig

DEFAULTS = {p.name: p.default for p in VPR_PARAMETERS}


@pytest.mark.parametrize("table", [VPR_PARAMETERS, RECORDER_PARAMETERS])
def test_tables_are_complete_and_their_defaults_allowed(table):
    names = [p.name for p in table]
    assert len(set(names)) == len(names)
    values = {p.name: p.default for p in table}
    assert unusable(values, table) is None
    for p in table:
        assert p.description.endswith(".") and p.type_name
        assert (p.minimum is None) == isinstance(p.default, (bool, str))
        if p.minimum is not None:
            assert p.minimum <= p.default and (p.maximum is None or p.default <= p.maximum)
        assert f"| `{p.name}` |" in markdown(table)
    assert yaml.safe_load(yaml_of(table)) == {"/**": {"ros__parameters": values}}


@pytest.mark.parametrize("table", [VPR_PARAMETERS, RECORDER_PARAMETERS])
def test_the_defaults_of_the_tables_are_those_of_the_configurations(table):
    values = {p.name: p.default for p in table}
    if table is VPR_PARAMETERS:
        assert pipeline_config(values) == PipelineConfig()
    else:
        assert recording_config(values) == RecordingConfig()
    inputs = InputSettings.from_values(values, clouds=False, mapping=False)
    assert inputs == InputSettings()
    for name in ("base_frame", "odom_frame", "map_frame", "max_gap_s", "max_cloud_gap_s"):
        assert getattr(inputs, name) == getattr(DriveConfig(), name)


@pytest.mark.parametrize("value, expected", [(-1.0, None), (0.0, 0.0), (25.0, 25.0)])
def test_the_drives_mean_follows_the_calibration_unless_it_is_set(value, expected):
    assert pipeline_config({**DEFAULTS, "drive_mean_frames": value}).recognition.drive_mean_frames == expected


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"mode": "drive"}, "mode must be one of"),
        ({"base_frame": " "}, "base_frame is empty"),
        ({"base_frame": "odom"}, "identity"),
        ({"mode": "map", "verify": "auto"}, "verify checks matches"),
        ({"keep_clouds": True}, "only reads"),
        ({"publish_tf": True}, "publish_tf uses verified poses only"),
        ({"publish_tf": True, "verify": "auto", "mode": "slam"}, "mode 'slam' writes one"),
        ({"publish_tf": True, "verify": "auto", "odom_source": "none"}, "publish_tf needs odometry"),
        ({"accept_probability": 0.1}, "min_margin"),
        ({"accept_probability": 0.9, "accept_precision": 0.99}, "exclude each other"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_the_reason(changes, word):
    assert word in unusable({**DEFAULTS, **changes}, VPR_PARAMETERS)
