"""Pictures that can be read and still show nothing: what to think of a camera whose pictures look so."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from vpr_ros.sensors.encodings import ENCODINGS
from vpr_ros.sensors.images import source_encoding

Doubt = Literal["distances", "black", "one colour", "10 bits", "12 bits", "14 bits"]
_DEPTH = "16uc1"
_DARK = 10  # of 255: a covered lens has noise
_PLAIN = 2.0  # of 255: standard deviation of each channel
# Brightest value, of 255, of 16-bit pixels that are no larger than the sensor's own number of bits.
_UNSCALED: tuple[tuple[int, Doubt], ...] = ((4, "10 bits"), (16, "12 bits"), (64, "14 bits"))


def encoding_of(msg) -> str:
    """The encoding of an Image, or what CompressedImage.format names as its source, in lower case; "" if none."""
    return str(msg.encoding).strip().lower() if hasattr(msg, "encoding") else source_encoding(str(msg.format))


def doubt_of(image: np.ndarray, encoding: str) -> Doubt | None:
    """What is odd about a decoded picture (H, W, 3) uint8 RGB of this encoding; None for one that shows something."""
    if encoding == _DEPTH:
        return "distances"
    brightest = int(image.max())
    if encoding in ENCODINGS and ENCODINGS[encoding].depth == 2 and brightest:
        for value, doubt in _UNSCALED:
            if brightest <= value:
                return doubt
    if np.percentile(image, 99) <= _DARK:
        return "black"
    return "one colour" if image.std(axis=(0, 1)).max() < _PLAIN else None


def doubt_sentences(doubts: Mapping[Doubt, int], sampled: int, unreadable: int) -> list[tuple[bool, str]]:
    """(whether no readable picture shows anything, what was seen and what to do) for each kind of doubt."""
    readable = sampled - unreadable
    found = []
    if count := doubts.get("distances", 0):
        found.append(
            (
                False,
                f"{count} of {sampled} sampled images are 16UC1, as depth cameras send distances: choose the colour "
                "camera's topic, unless this is a thermal camera",
            )
        )
    bits: list[Doubt] = [doubt for _, doubt in _UNSCALED if doubts.get(doubt, 0)]
    if bits:
        count = sum(doubts[doubt] for doubt in bits)
        found.append(
            (
                False,
                f"{count} of {sampled} sampled images hold {bits[-1]} in 16 and are almost black: let the driver "
                "scale them to 16 bits, or send 8",
            )
        )
    if count := doubts.get("black", 0):
        found.append((count == readable, f"{count} of {sampled} sampled images are black: a covered lens, or exposure"))
    if count := doubts.get("one colour", 0):
        found.append(
            (count == readable, f"{count} of {sampled} sampled images are of one colour: nothing to recognise")
        )
    return found
