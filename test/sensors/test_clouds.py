"""PointCloud2 layouts against struct.unpack, point by point."""

import struct
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from vpr_ros.errors import FrameError
from vpr_ros.sensors import cloud_msg, decode_cloud, decode_cloud_fields
from vpr_ros.sensors.clouds import transformed

F32, F64, U16, U8 = 7, 8, 4, 2
CODES = {F32: "f", F64: "d", U16: "H", U8: "B"}
RNG = np.random.default_rng(5)


def field(name, offset, datatype=F32, count=1):
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=count)


def cloud(fields, points, point_step, height=1, row_padding=0, big=False, row_step=None):
    """points: list of dicts name -> value, written one by one."""
    width = len(points) // height
    row = width * point_step + row_padding
    data = bytearray(b"\xaa" * (row * height))
    for i, point in enumerate(points):
        start = (i // width) * row + (i % width) * point_step
        for f in fields:
            if f.name in point:
                values = np.atleast_1d(point[f.name]).tolist()
                code = ">" if big else "<"
                struct.pack_into(f"{code}{len(values)}{CODES[f.datatype]}", data, start + f.offset, *values)
    return SimpleNamespace(
        height=height,
        width=width,
        fields=fields,
        is_bigendian=big,
        point_step=point_step,
        row_step=row if row_step is None else row_step,
        data=bytes(data),
        is_dense=False,
    )


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("height,row_padding", [(1, 0), (3, 0), (3, 7)])
def test_velodyne_like_layout(big, height, row_padding):
    fields = [field("x", 0), field("y", 4), field("z", 8), field("intensity", 16), field("ring", 20, U16)]
    points = [{"x": float(i), "y": i / 2, "z": -float(i), "intensity": i * 3.0, "ring": i % 16} for i in range(12)]
    msg = cloud(fields, points, 22, height, row_padding, big)
    decoded = decode_cloud_fields(msg)
    for i, point in enumerate(points):
        for name, value in point.items():
            assert decoded[name][i] == value
    xyz = decode_cloud(msg)
    assert xyz.dtype == np.float32 and xyz.shape == (12, 3)
    assert np.array_equal(xyz, [[p["x"], p["y"], p["z"]] for p in points])


def test_odd_offsets_double_precision_and_shuffled_fields():
    fields = [field("flag", 0, U8), field("z", 1, F64), field("x", 9, F64), field("y", 17, F64)]
    points = [{"flag": i, "x": i + 0.25, "y": 2.0 * i, "z": -1.5} for i in range(5)]
    assert np.array_equal(decode_cloud(cloud(fields, points, 27)), [[i + 0.25, 2.0 * i, -1.5] for i in range(5)])


def test_vector_fields_keep_their_count():
    fields = [field("x", 0), field("y", 4), field("z", 8), field("normal", 12, F32, 3)]
    points = [{"x": 0.0, "y": 0.0, "z": 0.0, "normal": [i, 1.0, 2.0]} for i in range(4)]
    assert np.array_equal(decode_cloud_fields(cloud(fields, points, 24))["normal"], [[i, 1, 2] for i in range(4)])


def test_points_that_are_not_finite_are_left_out():
    points = np.arange(30, dtype=np.float32).reshape(10, 3)
    points[2, 1], points[5, 0], points[7, 2] = np.nan, np.inf, -np.inf
    assert np.array_equal(decode_cloud(cloud_msg(points, 1)), np.delete(points, [2, 5, 7], axis=0))


def test_cloud_with_zero_points_is_empty_not_an_error():
    empty = decode_cloud(cloud_msg(np.empty((0, 3)), 1))
    assert empty.shape == (0, 3) and empty.dtype == np.float32
    nothing_but_nan = decode_cloud(cloud_msg(np.full((4, 3), np.nan), 1))
    assert nothing_but_nan.shape == (0, 3)


def test_zero_row_step_and_zero_counts_of_sloppy_drivers():
    fields = [field("x", 0, count=0), field("y", 4, count=0), field("z", 8, count=0)]
    points = [{"x": 1.0, "y": 2.0, "z": 3.0}] * 3
    assert np.array_equal(decode_cloud(cloud(fields, points, 12, row_step=0)), [[1, 2, 3]] * 3)


XYZ = [field("x", 0), field("y", 4), field("z", 8)]
POINT = {"x": 1.0, "y": 2.0, "z": 3.0}


@pytest.mark.parametrize(
    "change,words",
    [
        ({"fields": XYZ[:2]}, "no field z"),
        ({"fields": []}, "its fields are none"),
        ({"fields": [*XYZ, field("t", 10)]}, "ends at byte 14"),
        ({"fields": [*XYZ, field("t", 0, 99)]}, "unknown type number 99"),
        ({"data": b"\0" * 30}, "30 bytes"),
        ({"height": 2, "width": 2, "row_step": 5}, "step of 5"),
        ({"fields": [field("x", 0, F32, 3), field("y", 4), field("z", 8)]}, "several values"),
    ],
)
def test_layouts_that_contradict_themselves(change, words):
    msg = cloud(XYZ, [POINT] * 4, 12)
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(FrameError, match=words):
        decode_cloud(msg)


def test_numbers_beyond_the_earth_are_no_points_and_nothing_overflows():
    points = np.array([[1, 2, 3], [3.4e38, 0, 0], [0, -3.4e38, 0], [0, 0, 1e9], [6e6, 5e5, 80]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = decode_cloud(cloud_msg(points, 1))
        assert np.array_equal(kept, points[[0, 4]])
        far = np.eye(4)
        far[:3, 3] = 3e38, -3e38, 1e300
        assert transformed(points, far).shape == (5, 3)
