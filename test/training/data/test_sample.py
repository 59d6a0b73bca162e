"""Training-set folders as a sample set."""

import csv
import pickle

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sensor_files import read_rgb
from vpr_ros.training_set import read_frame_table
from vpr_ros.training_set.clouds import read_npy_cloud


def give_cloud(folder, row, points):
    """Store points for one row of a set's table."""
    np.save(folder / f"{row}.npy", points)
    with (folder / "frames.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    rows[row + 1][-1] = f"{row}.npy"
    with (folder / "frames.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def test_a_training_set_as_samples(folder):
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float16)
    give_cloud(folder, 35, points)
    table = read_frame_table(folder)
    samples = TrainingSetSamples(folder, name="toy")
    assert isinstance(samples, SampleSet) and len(samples) == 180 and samples.name == "toy"
    assert samples.cloud_unit == "m" and set(samples.areas) == {"a", "b"} and samples.drives[35] == "a1"
    np.testing.assert_array_equal(samples.positions_m, table.positions_m)
    sample = samples[35]
    np.testing.assert_array_equal(sample.image, read_rgb(table.images[35]))
    np.testing.assert_array_equal(sample.cloud, points.astype(np.float32))
    assert sample.cloud.dtype == np.float32 and samples[34].cloud is None
    T = sample.T_world_base
    np.testing.assert_allclose(T[:2, 3], table.positions_m[35])
    assert np.arctan2(T[1, 0], T[0, 0]) == pytest.approx(0.01) and T[2, 2] == 1
    assert (sample.stamp_ns, sample.place, sample.condition, sample.drive) == (
        int(table.stamps_ns[35]),
        -1,
        "summer/day",
        "a1",
    )


class Evil:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_missing_torn_and_malicious_files_are_told(folder):
    give_cloud(folder, 0, np.zeros((4, 3), np.float16))
    samples = TrainingSetSamples(folder)
    (folder / "00001.jpg").unlink()
    with pytest.raises(VprError, match=r"00001\.jpg"):
        _ = samples[1]
    cloud, mark = folder / "0.npy", folder / "ran"
    good = cloud.read_bytes()
    evil = np.empty(1, object)
    evil[0] = Evil(mark)
    for data in (good[:-3], b"", b"text", pickle.dumps(Evil(mark))):
        cloud.write_bytes(data)
        with pytest.raises(VprError, match=r"0\.npy"):
            _ = samples[0]
    for array in (evil, np.zeros(5), np.zeros((3, 2)), np.array([["a", "b", "c"]])):
        np.save(cloud, array)
        with pytest.raises(VprError, match=r"0\.npy.*\(N, 3\)"):
            _ = samples[0]
    assert not mark.exists()
    cloud.unlink()
    with pytest.raises(VprError, match="No such file"):
        read_npy_cloud(cloud)
