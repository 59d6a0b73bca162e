"""Bags become frames once, also where the reading was stopped in the middle."""

from contextlib import contextmanager

import pytest
from adapt_street import FRAMES, SIZE, TRUTH, silent

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.config import DriveTopics
from vpr_ros.training.adapt.frames import FramesFromBags, own_samples, pairs_of, read_bags
from vpr_ros.training_set.removal import keep_drives

CONFIG = FramesFromBags(DriveTopics(pose=TRUTH), size=SIZE)


def test_a_reading_that_was_stopped_goes_on_with_the_bag_it_was_in(drives, samples, tmp_path):
    @contextmanager
    def stopping(label, _total):
        def progress(done, _total):
            if label == "reading night" and done > FRAMES // 2:
                raise KeyboardInterrupt

        yield progress

    with pytest.raises(KeyboardInterrupt):
        own_samples(drives, tmp_path, CONFIG, stopping)
    read: list[str] = []

    @contextmanager
    def noting(label, _total):
        read.append(label)
        yield lambda done, total: None

    again = own_samples(drives, tmp_path, CONFIG, noting)
    assert read == ["reading night"]
    assert again.drives.tolist() == samples.drives.tolist() and again.stamps_ns.tolist() == samples.stamps_ns.tolist()
    assert (again.positions_m == samples.positions_m).all()
    assert len(list((tmp_path / "frames" / "images").iterdir())) == 2
    own_samples(drives, tmp_path, CONFIG, noting)
    assert read == ["reading night"]


def test_training_sets_and_bags_go_together_unless_their_drives_have_one_name(drives, tmp_path):
    folder = read_bags(drives[:1], tmp_path / "a", CONFIG, silent)
    assert len(own_samples([folder, drives[1]], tmp_path / "b", CONFIG, silent)) == 2 * FRAMES
    with pytest.raises(VprError, match="have a drive 'day'"):
        own_samples([folder, drives[0]], tmp_path / "c", CONFIG, silent)
    with pytest.raises(VprError, match="'fixes': choose auto"):
        pairs_of("fixes")


def test_a_drive_that_is_taken_out_of_a_set_leaves_nothing(drives, tmp_path):
    own_samples(drives, tmp_path, CONFIG, silent)
    folder = tmp_path / "frames"
    keep_drives(folder, {"night"})
    kept = own_samples([folder], tmp_path, CONFIG, silent)
    assert set(kept.drives) == {"night"} and len(kept) == FRAMES
    assert [path.name for path in (folder / "images").iterdir()] == ["night"]
    assert '"day"' not in (folder / "meta.json").read_text()
