"""kill -9 at random moments while mapping: every keyframe reported as saved is there, the map opens every time."""

import os
import random
import signal
import time

import numpy as np
import pytest

from vpr_ros.place_map import PlaceMap

KILLS = 50


def map_without_end(path, seed: int, report) -> None:
    """Open or create, add, commit, close, again; calls `report(ids)` for what it was told is saved."""
    rng = np.random.default_rng(seed)
    stamp = seed * 10**9
    while True:
        if path.exists():
            place_map = PlaceMap.open(path, writable=True)
        else:
            settings = dict(fingerprint="f" * 64, dim=64, preprocessing={}, place_radius_m=10.0)
            place_map = PlaceMap.create(path, **settings)
        place_map.commit_keyframes = 5
        place_map.on_saved = report
        session = place_map.start_session("drive")
        for _ in range(rng.integers(1, 60)):
            stamp += 1
            place_map.add(session, stamp, np.full(64, stamp % 1000 + 1), None, np.eye(4), None, bytes(3000))
        place_map.close()


@pytest.fixture
def mapper():
    """Callable that starts a process mapping into a path; returns its id and the read end of its reports.

    Forked, not started anew: 50 interpreters would take longer than all the mapping.
    """

    def start(path, seed: int) -> tuple[int, int]:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(read_end)
                map_without_end(path, seed, lambda ids: os.write(write_end, f"{' '.join(map(str, ids))}\n".encode()))
            finally:
                os._exit(1)  # only reached by an error: it never stops by itself
        os.close(write_end)
        return child, read_end

    return start


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "the mapper failed before it was killed"


def test_fifty_kills(tmp_path, mapper):
    chance = random.Random(0)
    path = tmp_path / "map.vprmap"
    saved: set[int] = set()
    for seed in range(KILLS):
        child, read_end = mapper(path, seed)
        output = os.read(read_end, 1 << 16)  # the first report: from now on it is mapping, committing or closing
        time.sleep(chance.uniform(0.0, 0.1))
        kill(child)
        with os.fdopen(read_end, "rb") as stream:
            output += stream.read()
        reported = {int(word) for word in output[: output.rfind(b"\n") + 1].split()}
        assert reported and not reported & saved  # no id is handed out twice
        saved |= reported
        with PlaceMap.open(path) as place_map:
            keyframes = place_map.keyframes()
        assert saved <= set(keyframes.ids.tolist())
        expected = (keyframes.stamps_ns % 1000 + 1)[:, None]
        np.testing.assert_array_equal(keyframes.descriptors, np.broadcast_to(expected, (len(keyframes), 64)))
    assert len(saved) > 5 * KILLS


def test_killed_while_creating(tmp_path, mapper):
    chance = random.Random(1)
    for i in range(10):
        path = tmp_path / f"map{i}.vprmap"
        child, read_end = mapper(path, i)
        while not list(tmp_path.glob(f"*map{i}.vprmap*")):  # the first sign of a file, complete or not
            time.sleep(0.0005)
        time.sleep(chance.uniform(0.0, 0.01))
        kill(child)
        os.close(read_end)
        if path.exists():
            with PlaceMap.open(path, writable=True) as place_map:
                place_map.start_session("next")
        else:
            PlaceMap.create(path, fingerprint="f", dim=4, preprocessing={}, place_radius_m=1.0).close()
