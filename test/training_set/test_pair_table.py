"""Pairs of frames on disk: what is written is read again, and damage is one sentence."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.training_set.pairs import DrivePairs, read_pairs, write_pairs


def some(drive_a="monday", drive_b="night, rain", count=3):
    T = np.column_stack([np.linspace(-2, 2, count), np.linspace(0, 1, count), np.linspace(3, -3, count)])
    confidence = np.linspace(0.9, 0.1, count)
    T[confidence < 0.5] = np.nan
    return DrivePairs(drive_a, drive_b, np.arange(2 * count).reshape(-1, 2), T, confidence)


def test_pairs_come_back_with_what_was_examined(tmp_path):
    assert read_pairs(tmp_path) == []
    nothing = DrivePairs("a", "b", np.zeros((0, 2), np.int64), np.zeros((0, 3)), np.zeros(0))
    write_pairs(tmp_path, [some(), nothing])
    empty, found = read_pairs(tmp_path)
    assert (empty.drive_a, empty.drive_b, len(empty.frames), empty.examined) == ("a", "b", 0, True)
    assert (found.drive_a, found.drive_b, found.examined) == ("monday", "night, rain", True)
    assert (found.frames == some().frames).all() and found.confirmed.tolist() == [True, True, False]
    np.testing.assert_allclose(found.T_a_b, some().T_a_b, atol=1e-3)
    np.testing.assert_allclose(found.confidence, some().confidence, atol=1e-3)
    (tmp_path / "examined.csv").unlink()
    assert [one.examined for one in read_pairs(tmp_path)] == [False], "a list that is lost leaves the rest unknown"
    write_pairs(tmp_path, [nothing])
    assert [len(one.frames) for one in read_pairs(tmp_path)] == [0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.900", "1.900", "confidence is not from 0 to 1"),
        ("-2.000", "", "confirmed without x, y and yaw"),
        (",0,night", ",zero,night", "has a broken row of drives monday and"),
        ("yaw_rad", "heading", "lacks the columns yaw_rad"),
    ],
)
def test_damaged_pairs_are_one_sentence(tmp_path, old, new, said):
    write_pairs(tmp_path, [some(drive_b="night")])
    text = (tmp_path / "pairs.csv").read_text()
    assert old in text
    (tmp_path / "pairs.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(VprError, match=f"{said}.*delete it, or write it again"):
        read_pairs(tmp_path)
