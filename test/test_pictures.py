"""Pictures in memory and in files: RGB order, depth, what is torn, and what cannot be written."""

import os

import numpy as np
import pytest

from vpr_ros import pictures
from vpr_ros.errors import FrameError


def scene(height=40, width=56, channels=3):
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [255 * columns // width, 255 * rows // height, (rows + columns) % 256]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


def test_png_keeps_every_pixel_in_rgb_order():
    image = scene()
    data = pictures.encode(image, "png")
    assert data[:4] == b"\x89PNG" and np.array_equal(pictures.decode(data), image)
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
        plain = np.full((8, 8, 3), colour, np.uint8)
        assert np.array_equal(pictures.decode(pictures.encode(plain, "png")), plain)


def test_jpeg_keeps_colours_nearly_and_quality_costs_bytes():
    image = scene()
    coarse, fine = pictures.encode(image, quality=30), pictures.encode(image, quality=95)
    assert fine[:2] == b"\xff\xd8" and len(fine) > len(coarse)
    back = pictures.decode(fine)
    assert back is not None and np.abs(back.astype(int) - image).mean() < 3
    red = pictures.decode(pictures.encode(np.full((16, 16, 3), (250, 10, 10), np.uint8)))
    assert red is not None and red[..., 0].min() > 230 and red[..., 2].max() < 40


def test_bytes_arrays_and_views_are_decoded_alike():
    data = pictures.encode(scene(), "png")
    for given in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert np.array_equal(pictures.decode(given), scene())


def test_depth_and_channels_as_they_are_asked_for():
    deep = (scene(channels=1)[..., 0].astype(np.uint16) << 8) + 7
    data = pictures.encode(deep, "png")
    assert np.array_equal(pictures.decode(data, "stored"), deep)
    as_rgb, deep_rgb = pictures.decode(data), pictures.decode(data, "deep_rgb")
    assert as_rgb.shape == deep_rgb.shape == (40, 56, 3)
    assert as_rgb.dtype == np.uint8 and deep_rgb.dtype == np.uint16 and np.array_equal(deep_rgb[..., 1], deep)
    mosaic = scene(channels=1)[..., 0]
    assert np.array_equal(pictures.decode(pictures.encode(mosaic, "png"), "stored"), mosaic)
    assert np.array_equal(pictures.decode(pictures.encode(scene(), "png"), "stored"), scene())


def test_a_picture_with_transparency_is_rgba_where_it_is_read_as_stored(tmp_path):
    from matplotlib.image import imsave

    rgba = np.dstack([scene(), np.full((40, 56), 128, np.uint8)])
    imsave(tmp_path / "a.png", rgba)
    assert np.array_equal(pictures.read(tmp_path / "a.png", "stored"), rgba)
    assert np.array_equal(pictures.read(tmp_path / "a.png"), scene())


@pytest.mark.parametrize("data", [None, b"", b"no picture at all", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_none(data, tmp_path):
    assert pictures.decode(data) is None
    if data is not None:
        (tmp_path / "a.png").write_bytes(data)
    assert pictures.read(tmp_path / "a.png") is None


def test_a_folder_or_an_unreadable_name_is_none(tmp_path):
    assert pictures.read(tmp_path) is None and pictures.read(tmp_path / "x" / "y.jpg") is None


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_torn_pictures_are_told_from_whole_ones(format):
    data = pictures.encode(scene(200, 300), format)
    assert pictures.is_whole(data) and pictures.is_whole(np.frombuffer(data, np.uint8))
    assert pictures.is_whole(data + b"\0" * 1000)  # recorders pad to a block
    for share in (0.3, 0.6, 0.95):
        assert not pictures.is_whole(data[: int(share * len(data))])


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_a_torn_picture_never_decodes_to_the_whole_one(format):
    data = pictures.encode(scene(200, 300), format)
    torn = pictures.decode(data[: len(data) // 2])
    assert torn is None or not np.array_equal(torn, pictures.decode(data))


def test_other_formats_count_as_whole():
    assert pictures.is_whole(b"BM and so on") and pictures.is_whole(b"")


def test_files_are_read_or_the_reason_is_told(tmp_path):
    data = pictures.encode(scene(), "png")
    (tmp_path / "a.png").write_bytes(data)
    assert np.array_equal(pictures.load(tmp_path / "a.png"), scene())
    for torn, words in ((data[:-40], "is cut short"), (b"", "has zero bytes"), (b"nothing", "is no readable JPEG")):
        (tmp_path / "a.png").write_bytes(torn)
        with pytest.raises(FrameError, match=rf"a\.png .*{words}|a\.png {words}"):
            pictures.load(tmp_path / "a.png")
    with pytest.raises(FrameError, match=r"b\.png does not exist"):
        pictures.load(tmp_path / "b.png")


def test_pointers_of_git_lfs_are_named(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 52341\n"
    (tmp_path / "a.jpg").write_bytes(pointer)
    assert pictures.read(tmp_path / "a.jpg") is None
    with pytest.raises(FrameError, match=r"a\.jpg is a Git LFS pointer, .* 'git lfs pull'"):
        pictures.load(tmp_path / "a.jpg")


def test_pipes_devices_and_folders_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", "/dev/zero"):
        assert pictures.read(path) is None
        with pytest.raises(FrameError, match="is no regular file"):
            pictures.load(path)


def test_what_cannot_be_written_is_a_sentence():
    with pytest.raises(FrameError, match="cannot be written as JPEG: the frame is skipped"):
        pictures.encode(np.zeros((4, 70_000, 3), np.uint8))  # longer than the format's 65,535
