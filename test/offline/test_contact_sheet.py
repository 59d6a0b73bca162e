"""A map as one picture: thumbnails spread over it, its places where it has poses, one sentence where it has nothing."""

import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.offline.contact_sheet import contact_sheet, sheet_bytes
from vpr_ros.place_map import PlaceMap

COLOURS = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250]], np.uint8)


def town(path, count=60, poses=True, thumbnails=True):
    """Two sessions of keyframes, each third of them with a colour of its own."""
    with PlaceMap.create(path, fingerprint="a" * 64, dim=4, place_radius_m=5.0, preprocessing={}) as place_map:
        for session in range(2):
            number = place_map.start_session(f"fährt {session}")
            for i in range(count // 2):
                colour = COLOURS[(session * count // 2 + i) * 3 // count]
                image = np.full((56, 56, 3), colour[::-1], np.uint8)
                place_map.add(
                    number,
                    10**9 * (i + 1),
                    np.eye(4)[i % 4],
                    T_map_base=planar_transform(3.0 * i, 20.0 * session, 0.0) if poses else None,
                    thumbnail=cv2.imencode(".jpg", image)[1].tobytes() if thumbnails else None,
                )
    return path


def area(sheet, colour):
    """How many pixels of the sheet have a thumbnail's colour."""
    return int((np.abs(sheet.astype(int) - colour.astype(int)).max(axis=2) < 30).sum())


def test_thumbnails_come_from_the_whole_map(tmp_path):
    with PlaceMap.open(town(tmp_path / "m.vpr", poses=False)) as place_map:
        sheet = contact_sheet(place_map, 12)
    areas = [area(sheet, colour) for colour in COLOURS]
    assert min(areas) > 0.8 * max(areas) > 10_000


def test_places_are_drawn_where_there_are_poses(tmp_path):
    sheets = {}
    for poses in (False, True):
        with PlaceMap.open(town(tmp_path / f"{poses}.vpr", poses=poses)) as place_map:
            sheets[poses] = contact_sheet(place_map)
    plain, drawn = sheets[False], sheets[True]
    assert drawn.shape[1] == plain.shape[1] and drawn.shape[0] > plain.shape[0] + 250
    below = drawn[plain.shape[0] :].astype(int)
    blue, orange = np.array([0x00, 0x72, 0xB2]), np.array([0xE6, 0x9F, 0x00])
    for colour in (blue, orange):  # each session has a colour
        assert (np.abs(below - colour).max(axis=2) < 40).sum() > 100


def test_a_map_without_thumbnails_shows_its_places_and_one_without_both_is_refused(tmp_path):
    with PlaceMap.open(town(tmp_path / "places.vpr", thumbnails=False)) as place_map:
        sheet = contact_sheet(place_map)
    assert max(area(sheet, colour) for colour in COLOURS) < 500 and sheet.shape[0] > 250
    with PlaceMap.open(town(tmp_path / "bare.vpr", poses=False, thumbnails=False)) as place_map:
        with pytest.raises(VprError, match=r"bare.vpr has no thumbnails and no poses"):
            contact_sheet(place_map)
    with PlaceMap.open(town(tmp_path / "empty.vpr", count=0)) as place_map:
        with pytest.raises(VprError, match=r"empty.vpr has no keyframes"):
            contact_sheet(place_map)


def test_the_file_is_of_the_kind_that_its_name_says(tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    assert sheet_bytes(image, tmp_path / "a.PNG").startswith(b"\x89PNG")
    assert sheet_bytes(image, tmp_path / "a.jpeg").startswith(b"\xff\xd8")
    with pytest.raises(VprError, match="neither a .jpg nor a .png"):
        sheet_bytes(image, tmp_path / "a.gif")
