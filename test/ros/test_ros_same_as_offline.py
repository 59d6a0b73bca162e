"""A node that hears a bag says what the command line says about the same frames, dropped frames or not."""

from collections import Counter

import numpy as np
import pytest
from ros_drives import FRAMES, IMAGE, ODOM, OFFMAP_FRAMES, images_of
from ros_process import Process, play
from ros_robot import keyframe_of
from vision_msgs.msg import Detection3D

from vpr_ros.place_map import PlaceMap

REMAPS = {"image/compressed": IMAGE, "odom": ODOM}
DROPPED = "dropped (newer came first)"
SCORE_TOLERANCE = 1e-3
SLOWLY = "rate:=0.5"  # where no frame may be dropped, on a busy machine and with XFeat neither


def assert_same_answers(matches, records):
    """Messages and records by stamp: the same frames, places, probabilities and decisions."""
    assert sorted(matches) == sorted(records)
    for stamp, record in records.items():
        message = matches[stamp]
        live = {keyframe_of(r.hypothesis.class_id): r.hypothesis.score for r in message.results}
        offline = {h.keyframe_id: h.probability for h in record.hypotheses}
        assert live == pytest.approx(offline, abs=SCORE_TOLERANCE), stamp
        assert 1.0 - sum(live.values()) == pytest.approx(record.p_unknown, abs=SCORE_TOLERANCE)
        assert (keyframe_of(message.id) if message.id else None) == record.keyframe_id


def read_stamps(path):
    return [int(line) for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]


def test_frames_that_were_dropped_change_nothing_else(start, robot, programs, drives, first_map, answers, tmp_path):
    log = tmp_path / "stamps.txt"
    # 53 images a second, of which the node may answer 20: it drops on the fastest machine. Odometry must not be lost.
    heard_well = {"image_reliability": "reliable", "odom_reliability": "reliable", "pose_wait_s": 2.0}
    node = start(
        map_path=first_map, compressed=True, stamps_log=str(log), rate_limit_hz=20.0, remaps=REMAPS, **heard_well
    ).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    programs.append(play(drives["second"], tmp_path / "play.log", "--delay", "1", rate=10.0))
    assert programs[0].wait(60) == 0, programs[0].log
    node.until_health("input", lambda h: h.number("received") == h.number(DROPPED) + len(matches) > 0)
    stamps = read_stamps(log)
    assert len(set(stamps)) == len(stamps) < FRAMES + OFFMAP_FRAMES
    records = answers(drives["second"], stamps)
    assert_same_answers(matches.by_stamp(), records)
    reasons = Counter(record.reason for record in records.values())
    print(f"\n{len(stamps)} of {FRAMES + OFFMAP_FRAMES} frames were answered: {dict(reasons)}")
    node.until_health("decision", lambda h: {reason: int(h.number(reason)) for reason in reasons} == reasons)


def launch(programs, tmp_path, name, *arguments):
    command = ["ros2", "launch", "vpr_ros", f"{name}.launch.py", *arguments]
    programs.append(Process(command, tmp_path / f"{name}.log"))
    return programs[-1]


def test_launched_on_bags_map_and_matches_are_those_of_the_command_line(
    robot, programs, drives, first_map, answers, tmp_path
):
    live_map, log, own = tmp_path / "live.vpr", tmp_path / "stamps.txt", tmp_path / "own.yaml"
    own.write_text(f"/**:\n  ros__parameters:\n    stamps_log: {log}\n    threads: 1\n    local_budget_s: 0.0\n")
    mapping = launch(programs, tmp_path, "map", f"bag:={drives['first']}", f"map:={live_map}", SLOWLY)
    assert mapping.wait(60) == 0, mapping.log
    assert f"{FRAMES} images came: {FRAMES} answered, 0 dropped" in mapping.log
    with PlaceMap.open(live_map) as live, PlaceMap.open(first_map) as offline:
        a, b = live.keyframes(), offline.keyframes()
        assert live.local_features == offline.local_features is not None
        both = [(live.features(int(i)), offline.features(int(j))) for i, j in zip(a.ids, b.ids, strict=True)]
    for x, y in both:
        np.testing.assert_array_equal(x.size, y.size)
        assert x.camera.to_dict() == y.camera.to_dict()
        np.testing.assert_allclose(x.T_base_camera, y.T_base_camera, atol=1e-8)
    # Which keypoints are kept follows from which have depth; a cloud that came too late tells none of one keyframe.
    alike = [len(x) == len(y) and np.array_equal(x.depth_m, y.depth_m, equal_nan=True) for x, y in both]
    assert np.mean(alike) > 0.8 and any(x.has_depth.sum() > 20 for x, _ in both)
    assert f"{len(a)} keyframes saved in {live_map}" in mapping.log
    np.testing.assert_array_equal(a.stamps_ns, b.stamps_ns)
    np.testing.assert_allclose(a.T_map_base, b.T_map_base, atol=1e-9)
    np.testing.assert_allclose(np.sum(a.descriptors.astype(float) * b.descriptors, axis=1), 1.0, atol=2e-3)
    assert np.abs(a.descriptors.astype(float) - b.descriptors).max() < 1e-3

    matches = robot.listen("/vpr/matches", Detection3D)
    arguments = f"bag:={drives['second']}", f"map:={live_map}", f"params_file:={own}", SLOWLY
    localizing = launch(programs, tmp_path, "localize", *arguments)
    assert localizing.wait(60) == 0, localizing.log
    assert len(matches) == FRAMES + OFFMAP_FRAMES, localizing.log
    assert f"{sum(bool(m.id) for m in matches.messages)} places accepted, map {live_map}" in localizing.log
    assert [stamp for stamp, _ in images_of(drives["second"])] == read_stamps(log)
    assert_same_answers(matches.by_stamp(), answers(drives["second"], map_path=live_map))
