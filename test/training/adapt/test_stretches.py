"""Stretches are the same in all drives, and what is trained lies away from the one that is kept out."""

import numpy as np
import pytest

from vpr_ros.training.adapt.measure import Crossings
from vpr_ros.training.adapt.places import PlaceSize
from vpr_ros.training.adapt.stretches import COUNT, cut
from vpr_ros.training.data.sample import METRES, SampleSet

SIZE = PlaceSize(10.0)


class Streets(SampleSet):
    """Frames at (x, y, heading) of drives of one area each."""

    cloud_unit = METRES

    def __init__(self, **drives):
        self.name = "streets"
        poses = np.concatenate([np.asarray(of, float) for of in drives.values()])
        self.positions_m, self.headings_rad = poses[:, :2], poses[:, 2]
        self.drives = np.repeat(list(drives), [len(of) for of in drives.values()])
        self.areas = np.array([name[0] for name in self.drives])
        self.conditions, self.stamps_ns = self.drives, np.arange(len(poses)) * 10**9

    def read(self, row, modalities):
        raise AssertionError("only positions are asked for")


def street(length_m, step_m=4.0, y=0.0, backwards=False):
    """Along x, there or back."""
    x = np.arange(0.0, length_m, step_m)
    return np.column_stack([x[::-1] if backwards else x, np.full(len(x), y), np.full(len(x), np.pi * backwards)])


@pytest.fixture(scope="module")
def streets():
    """A long drive, one back, one that goes half the way and on through a side street; and another area."""
    side = np.column_stack([np.full(30, 252.0), 4.0 * np.arange(30), np.full(30, np.pi / 2)])
    return Streets(
        a_day=street(500), a_back=street(500, y=3.0, backwards=True), a_half=np.r_[street(252), side], b_day=street(300)
    )


def test_a_place_has_one_stretch_in_all_drives_and_every_area_has_all(streets):
    found = cut(streets, SIZE)
    day = np.flatnonzero(streets.drives == "a_day")
    for row in np.flatnonzero(np.isin(streets.drives, ["a_back", "a_half"])):
        gaps = np.linalg.norm(streets.positions_m[day] - streets.positions_m[row], axis=1)
        if gaps.min() <= 4.0:
            nearest = day[np.flatnonzero(gaps <= gaps.min() + 1e-9)]
            assert found.numbers[row] in found.numbers[nearest] and found.pieces[row] in found.pieces[nearest]
    for name in ("a_day", "a_back", "b_day"):
        assert np.bincount(found.numbers[streets.drives == name], minlength=COUNT).min() > 0
    lengths = [np.ptp(streets.positions_m[day][found.pieces[day] == piece, 0]) for piece in set(found.pieces[day])]
    assert len(lengths) == 10 and max(lengths) <= 50.0
    assert not set(found.pieces[streets.areas == "a"]) & set(found.pieces[streets.areas == "b"])


def test_what_is_apart_lies_beyond_the_border_of_all_that_is_kept_out(streets):
    found = cut(streets, SIZE)
    for number in range(COUNT):
        held, apart = found.kept_out(number), found.apart(number)
        for row in range(len(streets)):
            same = held & (streets.areas == streets.areas[row])
            gaps = np.linalg.norm(streets.positions_m[same] - streets.positions_m[row], axis=1)
            assert apart[row] == (gaps.min() > SIZE.border_m)
    assert found.apart(0).sum() > 100


def test_queries_are_those_with_a_true_place_and_right_is_the_most_similar_one_without_the_drives_means(streets):
    crossings, rng = Crossings(streets, SIZE), np.random.default_rng(0)
    descriptors = rng.normal(size=(len(streets), 6)).astype(np.float32)
    descriptors[:, :4] += 0.1 * streets.positions_m[:, :1]  # some are right
    for part in (slice(0, 4), slice(4, 6)):
        descriptors[:, part] /= np.linalg.norm(descriptors[:, part], axis=1, keepdims=True)
    found = list(zip(crossings.rows.tolist(), crossings.answers(descriptors, (4, 2)).right.tolist(), strict=True))

    def centred(row):
        of_drive = descriptors[streets.drives == streets.drives[row]]
        mean = of_drive.sum(0) / (len(of_drive) + 10.0)
        less = descriptors[row] - mean
        return np.concatenate([less[p] / np.linalg.norm(less[p]) for p in (slice(0, 4), slice(4, 6))])

    expected = []
    for drive, other in (("a_day", "a_half"), ("a_half", "a_day")):
        database = np.flatnonzero(streets.drives == other)
        for row in np.flatnonzero(streets.drives == drive):
            gaps = np.linalg.norm(streets.positions_m[database] - streets.positions_m[row], axis=1)
            turns = np.abs(streets.headings_rad[database] - streets.headings_rad[row])
            true = (gaps <= 10.0) & (turns <= 0.8)
            if true.any():
                best = int(np.argmax([centred(row) @ centred(one) for one in database]))
                expected.append((int(row), bool(true[best])))
    assert sorted(found) == sorted(expected)
    assert 0 < sum(right for _, right in found) < len(found)
    assert {tuple(pair) for pair in crossings.pairs} == {("a_day", "a_half")}
