"""A map's file is replaced, removed, cut or overwritten while the map is in use: it is told, and only then."""

import os
import shutil

import numpy as np
import pytest

from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.map_on_disk import MapOnDisk


def made(path, keyframes=3):
    place_map = PlaceMap.create(path, fingerprint="ab" * 32, dim=8, preprocessing={}, place_radius_m=10.0)
    with place_map:
        session = place_map.start_session("drive")
        for i in range(keyframes):
            place_map.add(session, i + 1, np.eye(8)[i % 8], thumbnail=bytes(4000))
    return path


@pytest.fixture
def town(tmp_path):
    with PlaceMap.open(made(tmp_path / "town.vpr")) as place_map:
        on_disk = MapOnDisk(place_map)

        def look():
            on_disk._next = 0.0
            on_disk.look()
            return on_disk.problem

        assert look() == ""
        yield place_map, look


def test_another_map_moved_over_it(town, tmp_path):
    place_map, look = town
    os.replace(made(tmp_path / "other.vpr"), place_map.path)
    assert "town.vpr was replaced by another file since it was opened" in look() and len(place_map) == 3


def test_removed_and_put_back(town, tmp_path):
    place_map, look = town
    os.replace(place_map.path, tmp_path / "away.vpr")
    assert "was removed" in look()
    os.replace(tmp_path / "away.vpr", place_map.path)
    assert look() == ""


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_truncated(town, share):
    place_map, look = town
    size = place_map.path.stat().st_size
    os.truncate(place_map.path, int(size * share))
    assert f"was cut from {size} to {int(size * share)} bytes" in look()


def test_another_map_copied_into_it(town, tmp_path):
    place_map, look = town
    shutil.copyfile(made(tmp_path / "larger.vpr", 30), place_map.path)  # the same file to the system
    assert "was overwritten by another map" in look()


def test_no_map_copied_into_it(town):
    place_map, look = town
    place_map.path.write_bytes(b"no map at all " * 10_000)
    assert "was overwritten" in look()


def test_what_other_processes_may_do_is_no_problem(town):
    place_map, look = town
    with PlaceMap.open(place_map.path, writable=True) as writer:
        session = writer.start_session("second")
        for i in range(50):
            writer.add(session, 100 + i, np.eye(8)[i % 8], thumbnail=bytes(4000))
            assert look() == ""
        writer.flush()
        assert look() == ""
    assert look() == ""


def test_a_map_that_is_written_here(tmp_path):
    with PlaceMap.open(made(tmp_path / "town.vpr"), writable=True) as place_map:
        on_disk = MapOnDisk(place_map)
        session = place_map.start_session("second")
        for i in range(40):
            place_map.add(session, 100 + i, np.eye(8)[i % 8], thumbnail=bytes(4000))
            on_disk._next = 0.0
            assert not on_disk.look()
        os.replace(made(tmp_path / "other.vpr"), place_map.path)
        on_disk._next = 0.0
        assert on_disk.look() and "replaced" in on_disk.problem
        on_disk._next = 0.0
        assert not on_disk.look()  # nothing new
