"""Drives through one street of textures in two lights, and the call of `vpr_ros adapt` on them."""

from contextlib import contextmanager

import numpy as np

from vpr_ros.training.adapt.places import PlaceSize

FRAMES, STEPS = 44, 30
SIZE = PlaceSize(5.0)
TRUTH = "/ground_truth/pose"


def in_another_light(images):
    """Dim, red and blue swapped."""
    return [(30 + 0.5 * image[..., ::-1]).astype(np.uint8) for image in images]


@contextmanager
def silent(_label, _total):
    """A stage that tells nothing."""
    yield lambda done, total=None: None


def command(drives, start, out, work, *more):
    """The call of `vpr_ros adapt`."""
    options = ("--start", start, "--work", work, "--pose-topic", TRUTH, "--place-radius", SIZE.radius_m)
    return ("adapt", *drives, "-o", out, *options, "--steps", STEPS, *more)
