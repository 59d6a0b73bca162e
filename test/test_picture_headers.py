"""Size, format and end of picture files, read without decoding: the limit before decoding, and what a driver pads."""

import io
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from vpr_ros import pictures
from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.protocols.folders import describe_files
from vpr_ros.evaluation.report.shots import small_jpeg
from vpr_ros.pictures.headers import FORMATS, Format, is_whole
from vpr_ros.sensors import BagWriter, Drive, compressed_image_msg, decode_image, doctor

RNG = np.random.default_rng(15)
WIDTH, HEIGHT = 57, 41


def noise(height=HEIGHT, width=WIDTH):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(kind: str, image=None, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(noise() if image is None else image).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its data are those of one row."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(width + 1))) + chunk(b"IEND", b"")


def with_thumbnail() -> bytes:
    """A JPEG with a whole smaller JPEG in its EXIF segment, as cameras write it."""
    whole, inside = saved("JPEG"), b"Exif\0\0" + saved("JPEG", noise(8, 8))
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(inside) + 2) + inside + whole[2:]


def without_tables() -> bytes:
    """A JPEG as many USB cameras send it: the Huffman tables are the standard's own and left out."""
    data, at = saved("JPEG"), 2
    out = data[:2]
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        out += b"" if data[at + 1] == 0xC4 else data[at:end]
        at = end
    return out + data[at:]


FILES: dict[str, tuple[bytes, Format]] = {
    "jpeg": (saved("JPEG"), "JPEG"),
    "progressive jpeg": (saved("JPEG", progressive=True), "JPEG"),
    "jpeg with restarts": (cv2.imencode(".jpg", noise(), [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes(), "JPEG"),
    "jpeg with a thumbnail": (with_thumbnail(), "JPEG"),
    "jpeg without tables": (without_tables(), "JPEG"),
    "png": (saved("PNG"), "PNG"),
    "webp, lossy": (saved("WEBP"), "WebP"),
    "webp, lossless": (saved("WEBP", lossless=True), "WebP"),
    "webp, extended": (saved("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"), "WebP"),
    "tiff": (saved("TIFF"), "TIFF"),
    "tiff, packed": (saved("TIFF", compression="tiff_lzw"), "TIFF"),
    "bigtiff": (saved("TIFF", big_tiff=True), "TIFF"),
    "bmp": (saved("BMP"), "BMP"),
    "gif": (saved("GIF"), "GIF"),
    "ppm": (saved("PPM"), "PNM"),
    "pgm with a comment": (b"P5 # a camera\n57 41\n# deep\n255\n" + bytes(WIDTH * HEIGHT), "PNM"),
}


@pytest.mark.parametrize("name", FILES)
def test_format_and_size_are_those_of_the_pixels(name):
    data, format = FILES[name]
    header = pictures.header_of(data)
    assert header == pictures.Header(format, WIDTH, HEIGHT)
    if name != "gif" or cv2.haveImageReader("a.gif"):
        assert pictures.pixels_of(data).shape == (HEIGHT, WIDTH, 3)


def test_every_format_is_tried():
    assert {format for _, format in FILES.values()} == set(FORMATS)


@pytest.mark.parametrize("name", FILES)
def test_a_beginning_of_a_file_has_a_header_or_none_and_never_raises(name):
    data, format = FILES[name]
    for length in range(len(data) - 1, -1, -max(1, len(data) // 200)):
        header = pictures.header_of(data[:length])
        assert header is None or header.format == format
        is_whole(data[:length])
    for at in RNG.integers(0, min(len(data), 200), 60):  # flipped bits in the header
        bent = bytearray(data)
        bent[at] ^= 1 << int(RNG.integers(8))
        pictures.header_of(bent)
        is_whole(bent)


def claiming(name: str, width: int, height: int) -> bytes:
    """The file of FILES with another size in its header."""
    data = bytearray(FILES[name][0])
    sof = data.find(b"\xff\xc2" if "progressive" in name else b"\xff\xc0")
    places = {"J": (">HH", sof + 5, True), "G": ("<HH", 6, False), "B": ("<ii", 18, False), "P": (">II", 16, False)}
    kind = FILES[name][1]
    if kind == "WebP":
        struct.pack_into("<I", data, 21, (width - 1) | (height - 1) << 14)
        return bytes(data)
    if kind == "PNM":
        return bytes(data.replace(b"57 41", b"%d %d" % (width, height)))
    if kind == "TIFF":
        for tag, value in ((256, width), (257, height)):
            at = data.find(struct.pack("<HH", tag, 4)) if struct.pack("<HH", tag, 4) in data else -1
            at = at if at >= 0 else data.find(struct.pack("<HH", tag, 3))
            struct.pack_into("<HHII", data, at, tag, 4, 1, value)
        return bytes(data)
    layout, at, swapped = places[kind[0]]
    struct.pack_into(layout, data, at, *((height, width) if swapped else (width, height)))
    return bytes(data)


@pytest.fixture
def undecoded(monkeypatch):
    """Fails where anything is decoded."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded before the size was looked at"))


@pytest.mark.parametrize(
    "name", ["jpeg", "progressive jpeg", "png", "webp, lossless", "tiff", "bmp", "gif", "pgm with a comment"]
)
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(name, undecoded):
    side = (16_000, 16_000) if "webp" in name else (20_000, 20_000)
    data = claiming(name, *side)
    assert pictures.header_of(data) == pictures.Header(FILES[name][1], *side)
    assert pictures.decode(data) is None
    with pytest.raises(FrameError, match=f"claims {side[0]}x{side[1]} pixels, more than the 64 megapixels"):
        pictures.pixels_of(data)


def test_a_tiff_of_few_pixels_in_one_huge_tile_is_refused(undecoded):
    entries = [(256, 100), (257, 100), (322, 16_384), (323, 16_384)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in entries)
    with pytest.raises(FrameError, match="claims 16384x16384 pixels"):
        pictures.pixels_of(b"II*\0\x08\0\0\0" + directory + bytes(4))


def test_the_limit_holds_for_files_and_is_above_any_camera(tmp_path, undecoded):
    (tmp_path / "a.png").write_bytes(png_of(30_000, 30_000))
    assert pictures.read(tmp_path / "a.png") is None
    with pytest.raises(FrameError, match=r"picture .*a\.png claims 30000x30000 pixels, .* shrunk first"):
        pictures.load(tmp_path / "a.png")
    pictures.refuse_large(8192, 5460)  # 45 megapixels, full-frame cameras
    with pytest.raises(FrameError):
        pictures.refuse_large(20_000, 10_000)


def test_the_limit_holds_for_every_way_in(tmp_path, undecoded):
    """A PNG of 30,000 x 30,000 pixels as a compressed topic, in a bag, in a folder and as a keyframe's thumbnail."""
    bomb = png_of(30_000, 30_000)
    message = compressed_image_msg(bomb, 10**9, format="png")
    with pytest.raises(FrameError, match="claims 30000x30000 pixels"):
        decode_image(message)
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/camera/image/compressed", message, 10**9)
    with Drive(tmp_path / "bag") as drive:
        with pytest.raises(VprError, match="claims 30000x30000 pixels"):
            list(drive)
        assert drive.skipped["image unreadable"] == 1
    stage = doctor(tmp_path / "bag").stage("image")
    assert stage.verdict == "ERROR" and "claims 30000x30000 pixels" in stage.sentence
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.png").write_bytes(bomb)
    with pytest.raises(VprError, match="claims 30000x30000 pixels"), Drive(tmp_path / "folder") as drive:
        list(drive)
    with pytest.raises(VprError, match="none of the 1 files"):
        describe_files(None, [tmp_path / "folder" / "a.png"])  # pyright: ignore[reportArgumentType]
    assert small_jpeg(bomb) is None  # a report's picture of a keyframe
    raw = SimpleNamespace(height=10_000, width=20_000, encoding="mono8", is_bigendian=0, step=20_000, data=b"")
    with pytest.raises(FrameError, match="claims 20000x10000 pixels"):
        decode_image(raw)


def test_formats_whose_size_is_not_read_are_not_decoded(undecoded):
    for ending in (".jp2", ".avif", ".hdr", ".ras"):
        if cv2.haveImageWriter(f"a{ending}"):
            data = cv2.imencode(ending, noise())[1].tobytes()
            with pytest.raises(FrameError, match="is no readable JPEG, PNG, WebP, TIFF, BMP, GIF or PNM"):
                pictures.pixels_of(data)


PADDINGS = [bytes(100), bytes(5_000), bytes(300_000), b"\xaa" * 5_000, b"\xff" * 5_000, RNG.bytes(20_000)]


@pytest.mark.parametrize("padding", PADDINGS, ids=lambda p: f"{len(p)} of {p[:1].hex()}")
@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "jpeg with restarts", "jpeg with a thumbnail", "png"])
def test_what_a_driver_leaves_behind_the_end_is_no_harm(name, padding):
    data = FILES[name][0]
    assert np.array_equal(pictures.pixels_of(data + padding), pictures.pixels_of(data))


@pytest.mark.parametrize("padding", [b"", *PADDINGS], ids=lambda p: f"{len(p)} of {p[:1].hex()}")
@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "jpeg with restarts", "jpeg with a thumbnail", "png"])
@pytest.mark.parametrize("share", [0.4, 0.8, 0.99])
def test_what_is_cut_is_refused_whatever_fills_the_buffer(name, padding, share):
    data = FILES[name][0]
    if padding == PADDINGS[-1]:  # bytes by chance may hold an end; those of the next picture do
        padding = data
    with pytest.raises(FrameError, match=r"is cut short: its lower part is missing|is no readable"):
        pictures.pixels_of(data[: int(share * len(data))] + padding)


def test_the_end_of_a_thumbnail_is_not_the_end_of_its_picture():
    data = with_thumbnail()
    assert is_whole(data)
    cut = data[: data.find(b"\xff\xd9") + 2]
    assert not is_whole(cut) and not is_whole(cut + bytes(20))


def test_codecs_say_nothing_on_the_terminal_and_others_are_heard(capfd):
    bent = bytearray(saved("JPEG", noise(200, 200)))
    bent[3000:3040] = bytes(40)
    torn = saved("PNG", noise(200, 200))
    garbled = torn[:2000] + bytes(500) + torn[2500:]
    raw = np.frombuffer(bytes(bent), np.uint8)
    cv2.imdecode(raw, cv2.IMREAD_COLOR)
    cv2.imdecode(np.frombuffer(garbled, np.uint8), cv2.IMREAD_COLOR)
    assert "JPEG" in (leaked := capfd.readouterr().err) and "libpng" in leaked  # what it would say
    assert pictures.decode(bent) is not None and pictures.decode(garbled) is None
    for data, _ in FILES.values():
        pictures.decode(data[: len(data) // 2])
    assert capfd.readouterr().err == ""


def test_what_others_write_to_stderr_meanwhile_arrives(capfd):
    import os

    from vpr_ros.pictures.quiet import quiet_codecs

    with quiet_codecs():
        os.write(2, b"[ERROR] the robot stands\nCorrupt JPEG data: 12 extraneous bytes before marker 0xd9\n")
        os.write(2, b"libpng error: bad\nand now it moves\n")
    assert capfd.readouterr().err == "[ERROR] the robot stands\nand now it moves\n"
