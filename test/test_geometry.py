"""Quaternions, transforms and geodetic coordinates against independent formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpr_ros.geometry import (
    geodetic_to_ecef,
    geodetic_to_enu,
    interpolate,
    invert,
    make_transform,
    matrix_to_quaternion,
    matrix_to_rotvec,
    planar_transform,
    quaternion_to_matrix,
    roll_pitch_yaw_to_matrix,
    rotation_angle,
    rotvec_to_matrix,
    rows_within,
    turn_between,
    yaw_of,
)

COMPONENT = st.floats(-1, 1)
QUATERNIONS = st.tuples(COMPONENT, COMPONENT, COMPONENT, COMPONENT).filter(lambda q: np.linalg.norm(q) > 1e-3)


def axis_angle(axis, angle):
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K


@given(QUATERNIONS)
@settings(max_examples=100, deadline=None)
def test_quaternion_matrix_round_trip(q):
    R = quaternion_to_matrix(q)
    assert np.allclose(R @ R.T, np.eye(3), atol=1e-12) and np.isclose(np.linalg.det(R), 1)
    back = matrix_to_quaternion(R)
    assert back[3] >= 0 and np.allclose(quaternion_to_matrix(back), R, atol=1e-9)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -2, 3), (-1, 1, 1e-3)])
@pytest.mark.parametrize("angle", [0, 1e-7, 0.5, 2.0, np.pi - 1e-7, np.pi])
def test_quaternion_against_axis_angle(axis, angle):
    unit = np.asarray(axis) / np.linalg.norm(axis)
    R = axis_angle(axis, angle)
    assert np.allclose(quaternion_to_matrix([*unit * np.sin(angle / 2), np.cos(angle / 2)]), R, atol=1e-12)
    assert np.allclose(quaternion_to_matrix(matrix_to_quaternion(R)), R, atol=1e-9)


@pytest.mark.parametrize("q", [(0, 0, 0, 0), (np.nan, 0, 0, 1), (np.inf, 0, 0, 1)])
def test_quaternions_without_direction(q):
    with pytest.raises(ValueError, match="no direction"):
        quaternion_to_matrix(q)


def test_many_quaternions_are_those_of_one_at_a_time():
    random = np.random.default_rng(0)
    quaternions = random.normal(size=(200, 4))
    quaternions[:4] = np.eye(4)  # half turns, where a careless formula divides by nothing
    R = np.array([quaternion_to_matrix(q) for q in quaternions])
    assert np.allclose(quaternion_to_matrix(quaternions), R, atol=1e-12)
    same = np.abs((matrix_to_quaternion(R) * quaternions).sum(axis=1)) / np.linalg.norm(quaternions, axis=1)
    np.testing.assert_allclose(same, 1.0, atol=1e-12)
    assert (matrix_to_quaternion(R)[:, 3] >= 0).all() and matrix_to_quaternion(R[:0]).shape == (0, 4)


def test_roll_pitch_yaw_turn_about_x_then_y_then_z():
    angles = np.random.default_rng(1).uniform(-3, 3, (20, 3))
    angles[0, 1] = np.pi / 2
    expected = [axis_angle((0, 0, 1), y) @ axis_angle((0, 1, 0), p) @ axis_angle((1, 0, 0), r) for r, p, y in angles]
    assert np.allclose(roll_pitch_yaw_to_matrix(*angles.T), expected, atol=1e-12)
    assert np.allclose(roll_pitch_yaw_to_matrix(0, 0, angles[:, 2])[3], axis_angle((0, 0, 1), angles[3, 2]), atol=1e-12)
    assert roll_pitch_yaw_to_matrix(*angles[:0].T).shape == (0, 3, 3)


@pytest.mark.parametrize(("a", "b", "turn"), [(0, 1, 1), (3, -3, 2 * np.pi - 6), (-3, 3, 2 * np.pi - 6), (9, 9, 0)])
def test_turns_go_the_short_way(a, b, turn):
    assert np.isclose(turn_between(a, b), turn)
    assert np.isclose(rotation_angle(axis_angle((1, 2, 3), a), axis_angle((1, 2, 3), b)), turn, atol=1e-7)
    assert np.isnan(turn_between(np.array([a, np.nan]), b)).tolist() == [False, True]


@given(QUATERNIONS, st.tuples(*[st.floats(-1e4, 1e4)] * 3))
@settings(max_examples=50, deadline=None)
def test_invert_is_the_matrix_inverse(q, t):
    T = make_transform(t, q)
    assert np.allclose(invert(T), np.linalg.inv(T), atol=1e-6)
    assert np.allclose(invert(np.stack([T, T]))[1], invert(T))


def test_planar_transform_moves_a_point_and_tells_its_yaw():
    T = planar_transform(3, 4, np.pi / 2, 1)
    assert np.allclose(T @ [1, 0, 0, 1], [3, 5, 1, 1])  # one metre ahead of a robot that faces +y
    for yaw in (-3.0, -0.1, 0.0, 2.5):
        assert np.isclose(yaw_of(planar_transform(0, 0, yaw)), yaw)


@pytest.mark.parametrize("angle", [1e-4, 0.3, 3.0, np.pi + 0.5])
def test_interpolation_turns_at_constant_speed_the_short_way(angle):
    a, b = planar_transform(0, 0, 0), planar_transform(4, 0, angle)
    short = angle if angle <= np.pi else angle - 2 * np.pi
    for fraction in (0, 0.25, 0.5, 1):
        T = interpolate(a, b, fraction)
        assert np.isclose(yaw_of(T), short * fraction, atol=1e-9)
        assert np.isclose(T[0, 3], 4 * fraction)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_rows_within_are_those_of_two_loops(dimensions):
    home = np.array([5735300.0, 620300.0, 100.0])[:dimensions]  # UTM metres: far from the origin
    rng = np.random.default_rng(2)
    points, queries = home + rng.uniform(-50, 50, (150, dimensions)), home + rng.uniform(-50, 50, (90, dimensions))
    queries[0] = points[0] + np.eye(dimensions)[1] * 25.0  # exactly at the radius
    points[7, 0], queries[11, 1], queries[12, 0] = np.nan, np.nan, np.inf
    for of in (queries, points):
        found = rows_within(points, of, 25.0)
        assert len(found) == len(of)
        for rows, query in zip(found, of, strict=True):
            assert rows.dtype == np.int64
            assert rows.tolist() == [j for j, p in enumerate(points) if np.linalg.norm(p - query) <= 25.0]
    assert 0 in rows_within(points, queries, 25.0)[0]


def test_rows_within_of_nothing():
    nothing, one, lost = np.empty((0, 2)), np.zeros((1, 2)), np.full((1, 2), np.nan)
    assert rows_within(one, nothing, 5.0) == rows_within(nothing, nothing, 5.0) == []
    for points, queries in ((nothing, one), (lost, one), (one, lost)):
        assert [rows.tolist() for rows in rows_within(points, queries, 5.0)] == [[]]


def test_ecef_of_known_places():
    # The equator at Greenwich and the pole are the ellipsoid's half axes.
    assert np.allclose(geodetic_to_ecef(0, 0, 0), [6378137.0, 0, 0])
    assert np.allclose(geodetic_to_ecef(90, 0, 0), [0, 0, 6356752.314245], atol=1e-6)
    assert np.allclose(geodetic_to_ecef(0, 90, 100), [0, 6378237.0, 0], atol=1e-6)


def test_rotation_vectors_are_axis_and_angle():
    axes, angles = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]]), np.array([0.3, -2.1])
    unit = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    R = np.stack([axis_angle(axis, angle) for axis, angle in zip(axes, angles, strict=True)])
    assert np.allclose(rotvec_to_matrix(unit * angles[:, None]), R)
    assert np.allclose(matrix_to_rotvec(R), unit * angles[:, None])
    assert np.allclose(matrix_to_rotvec(R[0]), unit[0] * 0.3) and rotvec_to_matrix(np.zeros(3)).shape == (3, 3)


@pytest.mark.parametrize("latitude", [-60.0, 0.0, 45.0, 51.75])
def test_enu_of_small_steps_is_arc_length(latitude):
    datum, step = (latitude, -1.25, 50.0), 1e-4
    a, e2, s = 6378137.0, 6.69437999014e-3, np.sin(np.radians(latitude))
    north_radius = a * (1 - e2) / (1 - e2 * s * s) ** 1.5
    east_radius = a / np.sqrt(1 - e2 * s * s)
    north = geodetic_to_enu(latitude + step, -1.25, 50.0, datum)
    east = geodetic_to_enu(latitude, -1.25 + step, 50.0, datum)
    assert np.allclose(north, [0, np.radians(step) * (north_radius + 50), 0], atol=1e-3)
    assert np.allclose(east, [np.radians(step) * (east_radius + 50) * np.cos(np.radians(latitude)), 0, 0], atol=1e-3)
    both = geodetic_to_enu(np.array([latitude + step, latitude]), np.array([-1.25, -1.25 + step]), 50.0, datum)
    assert np.allclose(both, [north, east], atol=1e-9)
    assert np.allclose(geodetic_to_enu(latitude, -1.25, 62.5, datum), [0, 0, 12.5], atol=1e-6)
    assert np.allclose(geodetic_to_enu(*datum, datum), 0, atol=1e-9)
