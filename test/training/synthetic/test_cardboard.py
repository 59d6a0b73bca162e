"""Cardboard places: the same bytes every time, one place alike in its views, a training set like any other."""

import cv2
import numpy as np
import pytest

from vpr_ros.training.synthetic.cardboard import (
    Quad,
    _attitude,
    _project,
    make_place,
    render_cardboard_set,
    render_view,
)
from vpr_ros.training_set import read_frame_table

SIZE = (60, 80)


def grey(image):
    small = cv2.cvtColor(cv2.resize(image, (16, 12), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY).astype(float)
    return ((small - small.mean()) / small.std()).ravel()


def test_views_are_pictures_and_depend_on_the_seed_alone():
    def view():
        return render_view(make_place(np.random.default_rng(4)), SIZE, np.random.default_rng(5))

    image = view()
    assert image.shape == (60, 80, 3) and image.dtype == np.uint8 and image.std() > 5
    assert (image == view()).all()


def test_views_of_one_place_look_more_alike_than_views_of_two():
    views = []
    for seed in range(12):
        place = make_place(np.random.default_rng(seed))
        views.append([grey(render_view(place, SIZE, np.random.default_rng((seed, k)))) for k in range(3)])
    v = np.array(views)
    similarity = np.einsum("ikd,jld->ikjl", v, v) / v.shape[2]
    same = np.mean([similarity[i, k, i, j] for i in range(12) for k in range(3) for j in range(3) if k != j])
    other = np.mean(
        [similarity[i, k, j, m] for i in range(12) for j in range(12) if i != j for k in range(3) for m in range(3)]
    )
    assert same > other + 0.1


def test_projection_is_a_pinhole():
    image = np.zeros((60, 80, 3), np.float32)
    R = _attitude(0.0, 0.0)
    ahead, left, up = (
        _project(np.array([p, p]), np.zeros(3), R, 50.0, image)[0] for p in ([10.0, 0, 0], [10.0, 1, 0], [10.0, 0, 1])
    )
    assert ahead.tolist() == [40, 30]
    assert left == pytest.approx([35, 30]) and up == pytest.approx([40, 25])
    assert _project(np.array([[-5.0, 0, 0], [-5.0, 1, 0]]), np.zeros(3), R, 50.0, image) is None
    crossing = _project(np.array([[-5.0, 1, 0], [5.0, 1, 0]]), np.zeros(3), R, 50.0, image)
    assert crossing is not None
    assert crossing[0][0] < 0 and crossing[1].tolist() == [30, 30], "a line that passes the camera is cut, not mirrored"


def test_a_wall_hides_what_stands_behind_it():
    y, z = np.eye(3)[1:]
    wall = Quad(np.array([5.0, -4, 0]), y * 8, z * 6, 1, (0, 0), np.array([5.0, 0, 0]))
    behind = Quad(np.array([9.0, -1, 0]), y * 2, z * 3, 2, (0, 0), np.array([9.0, 0, 0]))
    place = make_place(np.random.default_rng(0))
    place.quads[2:] = []
    hidden, alone = (
        render_view(type(place)([*place.quads, *q], place.colours, place.skyline, True), SIZE, np.random.default_rng(1))
        for q in ([behind, wall], [wall])
    )
    assert (hidden == alone).all()


def test_a_set_is_a_training_set_with_the_same_bytes_from_any_number_of_processes(tmp_path):
    one = render_cardboard_set(tmp_path / "one", 3, places=3, views=2, size=SIZE, workers=1)
    two = render_cardboard_set(tmp_path / "two", 3, places=3, views=2, size=SIZE, workers=2)
    table = read_frame_table(one)
    assert len(table) == 6 and len(set(table.drives)) == 2
    for a in sorted((one / "images").iterdir()):
        assert a.read_bytes() == (two / "images" / a.name).read_bytes()
    assert (one / "frames.csv").read_text() == (two / "frames.csv").read_text()
