"""Mailbox, health and parameter tables: what the nodes are made of, without ROS."""

import threading
import time

import pytest
import yaml

from vpr_ros.nodes.inputs.settings import InputSettings
from vpr_ros.nodes.parameters.declaration import unusable
from vpr_ros.nodes.parameters.documents import markdown
from vpr_ros.nodes.parameters.documents import yaml as yaml_of
from vpr_ros.nodes.parameters.tables import RECORDER_PARAMETERS, VPR_PARAMETERS
from vpr_ros.nodes.settings import pipeline_config, recording_config
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.mailbox import Mailbox
from vpr_ros.runtime.settings import PipelineConfig, RecordingConfig
from vpr_ros.sensors import DriveConfig

DEFAULTS = {p.name: p.default for p in VPR_PARAMETERS}


def test_the_newest_wins_and_drops_are_counted():
    box = Mailbox()
    assert [box.put(i) for i in range(4)] == [False, True, True, True]
    assert box.take(0.0) == 3 and box.take(0.0) is None
    assert (box.received, box.dropped) == (4, 3)
    box.put(5)
    box.clear()
    assert box.take(0.0) is None and box.dropped == 3


def test_a_waiting_worker_gets_what_comes_and_nothing_is_lost():
    box, taken = Mailbox(), []

    def worker():
        while (item := box.take(2.0)) != "end":
            if item is not None:
                taken.append(item)
            time.sleep(0.0005)

    thread = threading.Thread(target=worker)
    thread.start()
    for i in range(300):
        box.put(i)
        time.sleep(0.0002)
    while box._item is not None:
        time.sleep(0.001)
    box.put("end")
    thread.join(5)
    assert taken == sorted(taken) and taken[-1] == 299
    assert len(taken) + box.dropped == 300


def test_health_counts_times_and_keeps_the_newest_sentence():
    health = Health()
    for i in range(60):
        health.count("decision", "accepted" if i % 2 else "off_map")
        health.timed("total", 0.001 * i)
        health.seen("image")
    health.count("input", "image unusable", "JPEG cut short")
    assert health.counts("decision") == {"accepted": 30, "off_map": 30}
    assert sum(health.recent("decision").values()) == 50
    assert health.newest("input") == "JPEG cut short" and health.newest("input", within_s=0.0) == ""
    timing = health.timing("total")
    assert timing.count == 60 and timing.p50_s == pytest.approx(0.0295) and timing.p95_s == pytest.approx(0.05605)
    assert health.timing("search") is None
    assert health.age_s("points") is None and health.age_s("image") < 5 and health.rate_hz("image") > 0
    health.clear()
    assert health.counts("decision") == {} and health.age_s("image") is None


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


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"mode": "drive"}, "mode must be one of"),
        ({"base_frame": " "}, "base_frame is empty"),
        ({"base_frame": "odom"}, "identity"),
        ({"mode": "map", "verify": True}, "verify checks matches"),
        ({"keep_clouds": True}, "only reads"),
        ({"accept_probability": 0.1}, "min_margin"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_the_reason(changes, word):
    assert word in unusable({**DEFAULTS, **changes}, VPR_PARAMETERS)
