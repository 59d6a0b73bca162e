"""Nodes as processes: two beside each other, Ctrl-C at every moment, and answers while images flood in."""

import itertools
import sys
import threading
import time

import numpy as np
import pytest
from ros_drives import IMAGE, ODOM, images_of, pixels
from ros_process import Process, play
from ros_robot import compressed, flood, qos, raw_image, stamp_of, until_answered
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection3D

CALLS = 50


def test_two_namespaces(start, robot, drives, first_map):
    jpegs = [jpeg for _, jpeg in images_of(drives["second"])]
    nodes = {side: start(namespace=side, map_path=first_map, compressed=True).up() for side in ("front", "rear")}
    matches = {side: robot.listen(f"/{side}/vpr/matches", Detection3D) for side in nodes}
    cameras = {side: robot.publisher(f"/{side}/image/compressed", CompressedImage) for side in nodes}
    sent = {}
    for offset, side in enumerate(nodes):
        until_answered(cameras[side], matches[side], lambda stamp: compressed(stamp, jpegs[0]))
        begun = len(matches[side])
        sent[side] = []
        for i in range(5):
            answer = until_answered(
                cameras[side], matches[side], lambda stamp, i=i, o=offset: compressed(stamp, jpegs[10 + 10 * o + i])
            )
            sent[side].append(stamp_of(answer))
        assert len(matches[side]) >= begun + 5
    assert not set(matches["front"].by_stamp()) & set(matches["rear"].by_stamp())
    for side, node in nodes.items():
        assert set(sent[side]) <= set(matches[side].by_stamp())
        assert node.until_health("input", lambda h: h.number("received") > 0).name
    seconds, status = nodes["front"].interrupt()
    assert status == 0 and nodes["rear"].state == "active"


def start_bare(start, robot, first_map, programs, drives, tmp_path):
    node = start(map_path=first_map)
    robot.state(node.name)
    return node


def start_configured(start, robot, first_map, programs, drives, tmp_path):
    node = start(map_path=first_map)
    assert node.configure()
    return node


def start_busy(start, robot, first_map, programs, drives, tmp_path, **parameters):
    parameters = {"map_path": first_map, **parameters}
    remaps = {"image/compressed": IMAGE, "odom": ODOM}
    node = start(compressed=True, use_sim_time=True, remaps=remaps, **parameters).up()
    programs.append(play(drives["second"], tmp_path / "play.log", "--clock", "200", "--loop", rate=10.0))
    node.until_health("input", lambda h: h.number("received") > 20)
    return node


def start_mapping(start, robot, first_map, programs, drives, tmp_path):
    return start_busy(start, robot, first_map, programs, drives, tmp_path, mode="map", map_path=tmp_path / "new.vpr")


@pytest.mark.parametrize("begin", [start_bare, start_configured, start_busy, start_mapping])
def test_ctrl_c(start, robot, first_map, programs, drives, tmp_path, begin):
    node = begin(start, robot, first_map, programs, drives, tmp_path)
    seconds, status = node.interrupt()
    print(f"\n{begin.__name__}: ended {seconds:.2f} s after Ctrl-C")
    assert status == 0, node.log
    assert seconds < 6.0
    assert "Traceback" not in node.log and "Error" not in node.log


@pytest.mark.parametrize("after_s", [0.3, 0.8, 1.5])
def test_ctrl_c_while_starting(start, first_map, after_s):
    node = start(map_path=first_map)
    time.sleep(after_s)
    seconds, status = node.interrupt()
    print(f"\n{after_s} s after the start: ended {seconds:.2f} s after Ctrl-C with {status}")
    assert status in (0, 1, 130, -2), node.log  # before the node's own code runs, Python itself decides
    assert seconds < 6.0


def test_answers_while_images_flood_in(start, robot, drives, first_map):
    node = start(map_path=first_map).up()
    images = itertools.cycle([pixels(jpeg) for _, jpeg in images_of(drives["second"])])
    camera = robot.publisher(node.topic("image"), Image, qos(5, reliable=False))
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    until_answered(camera, matches, lambda stamp: raw_image(stamp, next(images)))
    over = threading.Event()

    def endless():
        while not over.is_set():
            flood(camera, lambda _, stamp: raw_image(stamp, next(images)), 100.0, 0.5)

    flooding = threading.Thread(target=endless)
    flooding.start()
    times: dict[str, list[float]] = {}

    def timed(name, call):
        started = time.perf_counter()
        answer = call()
        times.setdefault(name, []).append(time.perf_counter() - started)
        return answer

    try:
        time.sleep(1.0)
        answered = len(matches)
        for i in range(CALLS):
            timed("get_parameters", lambda: node.get("accept_probability", "map_path"))
            timed("get_state", lambda: node.state)
            assert timed("set_parameters", lambda i=i: node.set(accept_probability=0.9 + 0.001 * i)) == [""]
        for _ in range(3):
            assert timed("deactivate", node.deactivate)
            assert timed("activate", node.activate)
        time.sleep(1.0)
        health = node.health("input")
    finally:
        over.set()
        flooding.join()
    assert len(matches) > answered + CALLS / 10
    assert health.number("received") > 100
    for name, seconds in times.items():
        median, worst = 1e3 * np.median(seconds), 1e3 * max(seconds)
        print(f"\n{name}: median {median:.0f} ms, at most {worst:.0f} ms of {len(seconds)}")
        assert np.median(seconds) < 0.2, name


@pytest.mark.parametrize("node", ["vpr_node", "recorder"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["map_path:=town.vpr"],
            "no argument 'map_path:=town.vpr': what is set stands behind --ros-args; is `--ros-args -p",
        ),
        (
            ["town.vpr", "--ros-args", "-p", "threads:=1"],
            "no argument 'town.vpr': what is set stands behind --ros-args\n",
        ),
    ],
)
def test_words_that_ros_would_pass_over_are_refused(programs, tmp_path, node, words, sentence):
    start = f"import sys; from vpr_ros.nodes.main import {node}; sys.exit({node}())"
    programs.append(Process([sys.executable, "-c", start, *words], tmp_path / "words.log"))
    assert programs[0].wait(30) == 2
    assert sentence in programs[0].log and "Traceback" not in programs[0].log
