"""Check that no validation frame is a training frame."""

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.training.data.sample import SampleSet


def check_disjoint(training: SampleSet, validation: SampleSet) -> list[str]:
    """Areas that both sets name, which may be the same streets; VprError where a frame is in both.

    Frames are compared by area, drive and stamp, so a set's copy or link is found, too.
    """
    known = set(_keys(training))
    both = [key for key in _keys(validation) if key in known]
    if both:
        raise VprError(
            f"{len(both)} of {len(validation)} validation frames are training frames (the first of drive "
            f"'{both[0][1]}'): validate on places that nothing was learned from."
        )
    return sorted({key[0] for key in known} & set(np.unique(validation.areas).tolist()))


def _keys(frames: SampleSet) -> list[tuple[str, str, int]]:
    columns = (frames.areas, frames.drives, frames.stamps_ns)
    return list(zip(*(np.asarray(column).tolist() for column in columns), strict=True))
