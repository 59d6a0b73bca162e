"""The readings nearest in time to given stamps."""

import numpy as np

from vpr_ros.sensors.stamps import nearest


def test_nearest_readings_come_nearest_first():
    rng = np.random.default_rng(4)
    of = np.unique(rng.integers(0, 400, 60))
    asked = rng.integers(-50, 450, 80)
    for count in (1, 5, 20, 200):
        found = nearest(asked, of, count)
        for stamp, row in zip(asked, found, strict=True):
            expected = sorted(range(len(of)), key=lambda i: (abs(int(of[i]) - int(stamp)), of[i]))[:count]
            assert row.tolist() == expected
