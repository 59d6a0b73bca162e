"""Maps to test on: small, of random unit descriptors, with a drive along x."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_ros.geometry import planar_transform
from vpr_ros.place_map import PlaceMap

DIM = 16


def unit_rows(count: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def jpeg(value: int) -> bytes:
    return cv2.imencode(".jpg", np.full((8, 8, 3), value, np.uint8))[1].tobytes()


@pytest.fixture
def new_map(tmp_path):
    """Callable that makes an empty map open for writing; everything it made is closed at the end."""
    made = []

    def make(name="a.vprmap", **settings) -> PlaceMap:
        defaults = dict(fingerprint="f" * 64, dim=DIM, preprocessing={"size": [8, 8]}, place_radius_m=10.0)
        made.append(PlaceMap.create(tmp_path / name, **{**defaults, "model_name": "nano", **settings}))
        return made[-1]

    yield make
    for place_map in made:
        place_map.close()


@pytest.fixture
def drive():
    """Callable that adds a session of `count` keyframes, one metre and one second apart, to a map; returns its id."""

    def fill(place_map: PlaceMap, count=10, name="drive", start_ns=10**9, seed=0, poses=True) -> int:
        session = place_map.start_session(name, source=f"{name}.bag")
        for i, row in enumerate(unit_rows(count, place_map.dim, seed)):
            T = planar_transform(float(i), 0.0, 0.01 * i)
            T_odom = planar_transform(1.1 * i, 0.0, 0.01 * i)
            place_map.add(
                session,
                start_ns + i * 10**9,
                row,
                T_odom if poses else None,
                T if poses else None,
                np.eye(6) * (i + 1) if poses else None,
                jpeg(10 * i % 256),
            )
        place_map.flush()
        return session

    return fill


@pytest.fixture
def unprivileged():
    """Callable that runs a function without root's power over permissions, and returns its result (fit for JSON).

    Root is told by no permission bit, so under root the function runs in a forked child that gives root up.
    """

    def run(function):
        if os.getuid() != 0:
            return function()
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                answer = {"result": function()}
            except BaseException as error:
                answer = {"error": repr(error)}
            os.write(write_end, json.dumps(answer).encode())
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as stream:
            answer = json.load(stream)
        os.waitpid(child, 0)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    return run


@pytest.fixture
def public_dir(tmp_path):
    """A directory that every user may enter, as tmp_path is not."""
    for directory in [tmp_path, *tmp_path.parents]:
        if directory == Path("/tmp") or directory.stat().st_uid != os.getuid() or directory == Path("/"):
            break
        directory.chmod(directory.stat().st_mode | 0o055)
    return tmp_path
