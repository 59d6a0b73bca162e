"""Which pictures go into a report, how small, and which one stands in where there is none: its size is bounded."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import FrameError

ImageLike = np.ndarray | bytes | None  # (H, W, 3) uint8 RGB, or JPEG/PNG bytes


@dataclass(frozen=True)
class PictureBudget:
    """At most so many pictures of frames and of keyframes, each of so many pixels and bytes."""

    frames: int = 300
    keyframes: int = 400
    pixels: int = 240 * 180
    bytes: int = 5_000


BUDGET = PictureBudget()
QUALITIES = (78, 60, 40, 20)


@dataclass(frozen=True)
class Shots:
    """JPEG bytes by frame number and by keyframe id."""

    frames: Mapping[int, bytes]
    keyframes: Mapping[int, bytes]
    aspect: float  # width by height of the query's pictures; thumbnails of a map are stored in the network's shape


def small_jpeg(image: ImageLike, budget: PictureBudget = BUDGET) -> bytes | None:
    """JPEG within the budget of an image; None for anything unusable."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        data = bytes(image)
        image = pictures.decode(data) if data.startswith((b"\xff\xd8", b"\x89PNG")) else None
        if image is not None and data[:2] == b"\xff\xd8" and _fits(data, image, budget):
            return data
    if image is None or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        return None
    scale, data = min(1.0, float(np.sqrt(budget.pixels / (image.shape[0] * image.shape[1])))), b""
    while scale * max(image.shape[:2]) >= 1:
        size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        for quality in QUALITIES:
            try:
                data = pictures.encode(small, quality=quality)
            except FrameError:
                return None
            if len(data) <= budget.bytes:
                return data
        scale /= 2
    return None


def _fits(data: bytes, image: np.ndarray, budget: PictureBudget) -> bool:
    return len(data) <= budget.bytes and image.shape[0] * image.shape[1] <= budget.pixels


def chosen_frames(count: int, interesting: Sequence[Iterable[int]], most: int) -> np.ndarray:
    """Sorted numbers (M,), M <= `most`, of the `count` frames whose pictures are kept.

    All where they are few; else an even selection of all frames, and in at most half of the places the interesting
    ones, list after list.
    """
    if count <= most:
        return np.arange(count)
    picked = in_turn(interesting, most // 2)
    spread = np.linspace(0, count - 1, most - len(picked)).round().astype(np.int64)
    return np.union1d(np.array(picked, np.int64), spread)


def in_turn(lists: Sequence[Iterable[int]], most: int) -> list[int]:
    """At most `most` different numbers: of each list in turn, evenly selected from the one that does not fit whole."""
    chosen: dict[int, None] = {}
    for numbers in lists:
        fresh = [int(k) for k in dict.fromkeys(numbers) if int(k) not in chosen]
        chosen.update(dict.fromkeys(evenly(np.array(fresh, np.int64), most - len(chosen)).tolist()))
    return list(chosen)


def evenly(items: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the items (N,), in their order, the first and the last among them."""
    if len(items) <= most:
        return items
    return items[np.linspace(0, len(items) - 1, most).round().astype(np.int64)] if most > 0 else items[:0]


def nearest(positions: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """For each of positions (N,) the nearest of the sorted kept ones (M,), M >= 1; the earlier one of two."""
    after = np.searchsorted(kept, positions).clip(0, len(kept) - 1)
    before = (after - 1).clip(0)
    return np.where(positions - kept[before] <= kept[after] - positions, kept[before], kept[after])


def gather(
    stamps_ns: Sequence[int],
    frames: np.ndarray,
    keyframes: Iterable[int],
    query_images: Callable[[Sequence[int]], Mapping[int, ImageLike]] | None,
    keyframe_image: Callable[[int], ImageLike] | None,
    budget: PictureBudget = BUDGET,
) -> Shots:
    """The pictures of the chosen frames (M,) and keyframes, those that are there; each keyframe's once."""
    found = query_images([stamps_ns[f] for f in frames]) if query_images is not None and len(frames) else {}
    of_frames = {int(f): data for f in frames if (data := small_jpeg(found.get(stamps_ns[f]), budget))}
    of_keyframes = {}
    if keyframe_image is not None:
        of_keyframes = {k: data for k in keyframes if (data := small_jpeg(keyframe_image(k), budget))}
    first = pictures.decode(next(iter(of_frames.values()), next(iter(of_keyframes.values()), None)))
    aspect = 4 / 3 if first is None else min(max(first.shape[1] / first.shape[0], 0.5), 4.0)
    return Shots(of_frames, of_keyframes, aspect)
