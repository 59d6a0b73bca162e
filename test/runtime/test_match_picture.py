"""The match image: what is on it, in every case that a drive brings."""

import cv2
import numpy as np
import pytest
from answers import ACCEPTED, REJECTED, UNKNOWN, recognition

from vpr_ros.runtime.match_picture import HEAD, MARGIN, STATUS_COLOURS, TILE_WIDTH, WIDTH, Partner, match_picture, rgb

RED, GREEN_ISH = (200, 40, 40), (40, 160, 60)


def plain(colour, height=480, width=640):
    return np.full((height, width, 3), colour, np.uint8)


def jpeg(image):
    return cv2.imencode(".jpg", image[:, :, ::-1])[1].tobytes()


def drawn(image, answer, partner=None, reason=""):
    """The picture as RGB; it is a JPEG of the full width."""
    data = match_picture(image, answer, partner, reason)
    assert data[:2] == b"\xff\xd8"
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert picture.shape[1] == WIDTH
    return picture


def near(pixel, colour, tolerance=14):
    return np.abs(pixel.astype(int) - np.array(colour)).max() <= tolerance


def left_tile(picture):
    return picture[HEAD + 30, MARGIN + TILE_WIDTH // 2]


def right_tile(picture):
    return picture[HEAD + 30, 2 * MARGIN + TILE_WIDTH + TILE_WIDTH // 2]


@pytest.mark.parametrize("probabilities", [ACCEPTED, REJECTED, UNKNOWN])
def test_query_left_match_right_and_the_status_in_its_colour(probabilities):
    answer = recognition(probabilities)
    picture = drawn(plain(RED), answer, Partner("keyframe 100", jpeg(plain(GREEN_ISH, 224, 224))))
    assert near(left_tile(picture), RED) and near(right_tile(picture), GREEN_ISH)
    colour = rgb(STATUS_COLOURS[answer.status])
    assert near(picture[MARGIN + 3, MARGIN + 4], colour)
    bar = picture[HEAD - 10]
    ends = [x for x in range(MARGIN, WIDTH - MARGIN) if near(bar[x], colour, 40)]
    assert len(ends) == pytest.approx(probabilities[0] * (WIDTH - 2 * MARGIN), abs=8)


def test_the_three_statuses_look_different():
    heads = [drawn(plain(RED), recognition(p))[:HEAD].tobytes() for p in (ACCEPTED, REJECTED, UNKNOWN)]
    assert len(set(heads)) == 3


def test_an_answer_without_places():
    picture = drawn(plain(RED), recognition(()))
    assert near(left_tile(picture), RED)
    assert right_tile(picture).max() < 90


@pytest.mark.parametrize("thumbnail", [None, b"", b"no jpeg at all"])
def test_a_keyframe_whose_picture_is_missing_or_damaged(thumbnail):
    picture = drawn(plain(RED), recognition(ACCEPTED), Partner("keyframe 100", thumbnail))
    assert near(left_tile(picture), RED) and right_tile(picture).max() < 90


def test_mapping_tells_what_became_of_the_frame():
    kept = drawn(plain(RED), None, Partner("new keyframe 7", jpeg(plain(RED, 112, 112))), "moved 2.1 m")
    skipped = drawn(plain(RED), None, None, "standing still")
    assert near(right_tile(kept), RED) and right_tile(skipped).max() < 90
    assert not np.array_equal(kept[-25:], skipped[-25:])


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (375, 1242), (1200, 480), (60, 80), (10, 2000), (2000, 10)])
def test_cameras_of_any_shape(size):
    picture = drawn(plain(RED, *size), recognition(ACCEPTED), Partner("keyframe 1", jpeg(plain(GREEN_ISH, 224, 224))))
    assert 130 < picture.shape[0] < 480
    assert near(left_tile(picture), RED) and near(right_tile(picture), GREEN_ISH)


def test_a_long_reason_is_wrapped_and_bounded():
    words = "a sentence that goes on and on about what has become of the frame " * 20
    assert drawn(plain(RED), None, None, words).shape[0] <= drawn(plain(RED), None, None, "short").shape[0] + 60
    drawn(plain(RED), None, None, "Straße 渋谷 x")  # the font has no such letters; it must not fail
