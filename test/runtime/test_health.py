"""Counts, times and sentences of a node's health."""

import pytest

from vpr_ros.runtime.health import Health


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
