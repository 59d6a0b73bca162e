"""Folders of pictures: which files count, in which order, and that they are read as the bag that is made of them."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_ros import pictures
from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.folders import pictures_of_folder
from vpr_ros.nodes.launching.bag_topics import bag_topics
from vpr_ros.offline.image_source import images_of
from vpr_ros.sensors import Bag, Drive, doctor, folder_to_bag, image_msg
from vpr_ros.sensors.bags.drive_frames import read_drive_frames
from vpr_ros.sensors.bags.kinds import kind_of
from vpr_ros.sensors.picture_files import FORMATS, drive_pictures, list_pictures, natural


def scene(level: int) -> np.ndarray:
    return np.full((24, 32, 3), level, np.uint8)


def write(path: Path, level: int = 100) -> Path:
    """A picture file of the kind that its ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = scene(level)[..., 0] if path.suffix.lower() == ".pgm" else scene(level)
    done, data = cv2.imencode(path.suffix, pixels)
    assert done
    path.write_bytes(data.tobytes())
    return path


@pytest.fixture
def walk(tmp_path):
    """Five pictures, out of order as text, and what lies beside pictures on people's disks."""
    for number in (1, 2, 9, 10, 100):
        write(tmp_path / "walk" / f"img{number}.jpg", number)
    for junk in ("._img1.jpg", ".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / "walk" / junk).write_bytes(b"\0\5\x16\7")
    write(tmp_path / "walk" / ".thumbnails" / "img1.jpg")
    return tmp_path / "walk"


def test_order_and_what_is_left_out(walk):
    names = [f"img{n}.jpg" for n in (1, 2, 9, 10, 100)]
    assert [p.name for p in list_pictures(walk)] == [p.name for p in drive_pictures(walk)] == names
    write(walk / "copies" / "img1.jpg")
    write(walk / "__MACOSX" / "img1.jpg")
    assert [p.relative_to(walk).as_posix() for p in list_pictures(walk)] == ["copies/img1.jpg", *names]
    assert [p.name for p in drive_pictures(walk)] == names  # another folder is another drive


def test_the_natural_order_against_splitting_by_hand():
    def slow(text):
        parts, digits = [], False
        for letter in text:
            if letter in "0123456789":
                parts = [*parts[:-1], parts[-1] + letter] if digits else [*parts, letter]
            else:
                parts = [*parts[:-1], parts[-1] + letter] if parts and not digits else [*parts, letter]
            digits = letter in "0123456789"
        return [(0, int(p), "") if p[0] in "0123456789" else (1, 0, p) for p in parts]

    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("ab19²"), rng.integers(1, 8))) for _ in range(300)]
    assert [slow(w) for w in sorted(words, key=natural)] == sorted(slow(w) for w in words)
    assert sorted(["7.jpg", "07.jpg", "1.jpg"], key=natural) == sorted(["07.jpg", "7.jpg", "1.jpg"], key=natural)


@pytest.mark.parametrize("ending", [*FORMATS, ".JPG", ".Tif"])
def test_every_kind_of_picture_is_read_everywhere(tmp_path, ending):
    for level in (40, 80):
        write(tmp_path / "walk" / f"{level}{ending}", level)
    assert kind_of(tmp_path / "walk") == "pictures"
    assert folder_to_bag(tmp_path / "walk", tmp_path / "bag") == 2
    for path in (tmp_path / "walk", tmp_path / "bag"):
        with Drive(path) as drive:
            images = [observation.image for observation in drive]
        assert [int(image.mean().round()) for image in images] == pytest.approx([40, 80], abs=2), path
        assert drive.skipped == {}
        assert [int(image.mean().round()) for image in images_of(path, 9)] == pytest.approx([40, 80], abs=2)


def test_a_folder_is_read_as_the_bag_that_is_made_of_it(walk, tmp_path):
    (walk / "img3.jpg").write_bytes(b"")
    (walk / "img5.jpg").write_bytes((walk / "img9.jpg").read_bytes()[:200])
    folder_to_bag(walk, tmp_path / "bag")
    with Bag(walk) as direct, Bag(tmp_path / "bag") as bag:
        assert direct.topics == bag.topics and direct.pictures and not bag.pictures
        for fact in ("message_count", "start_ns", "end_ns", "duration_s", "ros2"):
            assert getattr(direct, fact) == getattr(bag, fact), fact
        names = [topic.name for topic in bag.topics]
        assert list(direct.receive_times(names)) == list(bag.receive_times(names))
        for (topic, time, message), (other_topic, other_time, other) in zip(
            direct.messages(names), bag.messages(names), strict=True
        ):
            assert (topic, time) == (other_topic, other_time)
            assert np.array_equal(message.data, other.data)
            assert getattr(message, "header", None) == getattr(other, "header", None)
    both = [read_drive_frames(path) for path in (walk, tmp_path / "bag")]
    assert both[0].names == both[1].names and np.array_equal(both[0].stamps_ns, both[1].stamps_ns)
    found = []
    for path in (walk, tmp_path / "bag"):
        with Drive(path) as drive:
            found.append(([o.stamp_ns for o in drive], drive.skipped, drive.notes))
    assert found[0] == found[1] and found[0][1] == {"image unreadable": 2}
    with Drive(walk) as drive:
        list(drive)
    assert drive.first_errors["image unreadable"].startswith("img3.jpg: ")
    reports = [doctor(path) for path in (walk, tmp_path / "bag")]
    assert (reports[0].kind, reports[0].stages) == ("pictures", reports[1].stages)


def test_a_folder_that_is_no_drive_says_what_it_holds(tmp_path):
    write(tmp_path / "robot" / "cam0" / "1.jpg")
    write(tmp_path / "robot" / "cam1" / "1.jpg")
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "IMG_1.HEIC").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for use in (Bag, lambda folder: folder_to_bag(folder, tmp_path / "bag"), drive_pictures):
        with pytest.raises(VprError, match=r"holds no pictures itself, but its folders do \(cam0, cam1\)"):
            use(tmp_path / "robot")
        with pytest.raises(VprError, match=r"holds no pictures \(.jpg, .*\), but 1 .heic"):
            use(tmp_path / "phone")
        with pytest.raises(VprError, match=r"holds no pictures \(.*\)$"):
            use(tmp_path / "empty")
    with pytest.raises(VprError, match="single picture; give the folder"):
        Bag(tmp_path / "robot" / "cam0" / "1.jpg")
    assert len(list(images_of(tmp_path / "robot", 9))) == 2  # where the order is of no use, folders below count


def test_names_of_other_encodings_are_kept_readable(tmp_path):
    write(tmp_path / "walk" / "1.jpg").rename(os.fsdecode(os.fsencode(tmp_path / "walk") + b"/caf\xe9.jpg"))
    folder_to_bag(tmp_path / "walk", tmp_path / "bag")
    for path in (tmp_path / "walk", tmp_path / "bag"):
        assert read_drive_frames(path).names == ("caf\ufffd.jpg",)
        with Drive(path) as drive:
            assert len(list(drive)) == 1


def test_pictures_that_git_did_not_fetch_are_named(walk):
    for file in walk.glob("img*.jpg"):
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    for use in (Bag, list_pictures, drive_pictures):
        with pytest.raises(VprError, match="img.*.jpg.*Git LFS pointer, not the picture itself"):
            use(walk)


def test_a_picture_that_vanishes_is_named(walk):
    with Drive(walk) as drive:
        (walk / "img10.jpg").unlink()
        with pytest.raises(VprError, match="img10.jpg cannot be read"):
            list(drive)


def test_a_link_to_a_disk_that_is_not_there_is_named_and_shifts_nothing(walk):
    names = [path.name for path in drive_pictures(walk)]
    moved = walk / names[1]
    moved.unlink()
    moved.symlink_to("/nowhere/picture.jpg")
    assert [path.name for path in drive_pictures(walk)] == names == [path.name for path in list_pictures(walk)]
    with pytest.raises(VprError, match=f"{names[1]} cannot be read"), Drive(walk) as drive:
        list(drive)


def test_a_bag_without_metadata_is_a_bag_everywhere(make_bag):
    path = make_bag([("/camera", image_msg(scene(60), 10**9), 10**9)])
    (path / "metadata.yaml").unlink()
    write(path / "preview.jpg", 200)
    assert kind_of(path) == "bag"
    with Drive(path) as drive:
        assert [int(o.image.mean()) for o in drive] == [60]
    assert [int(image.mean()) for image in images_of(path, 5)] == [60]
    for use in (pictures_of_folder, lambda folder: folder_to_bag(folder, path.parent / "other")):
        with pytest.raises(VprError, match="is a bag, not a folder of pictures"):
            use(path)
    assert doctor(path).kind == "ROS 2" and bag_topics(str(path), {"image": ""})["topics"]["image"]


def test_a_launch_file_cannot_play_pictures(walk):
    with pytest.raises(VprError, match="holds pictures.*vpr_ros bag"):
        bag_topics(str(walk), {"image": ""})


def test_gif_is_a_picture_of_its_first_frame(tmp_path):
    write(tmp_path / "a.gif", 90)
    image = pictures.read(tmp_path / "a.gif")
    assert image is not None and image.shape == (24, 32, 3) and abs(int(image.mean()) - 90) <= 2
