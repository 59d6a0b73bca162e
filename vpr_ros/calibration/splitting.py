"""A drive without poses as a map and its own queries: every second keyframe asks, the others answer."""

import numpy as np

from vpr_ros.calibration.labelling import LabelledSequence, hide_stretch, longest_session
from vpr_ros.errors import VprError
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.statistics import DriveStatistics, centred

LEAST_KEYFRAMES = 60
HIDDEN = 3  # parts of the drive, of which one at a time is taken out of the map
MOST_IN_VIEW = 12  # of the drive, at most this part


def split_matches(
    keyframes: Keyframes, radius: float, parts: tuple[int, ...] | None = None
) -> tuple[list[LabelledSequence], float]:
    """The longest session of a map without poses against itself, and the place radius in frames of what is left.

    The odd keyframes are the queries, the even ones the map; true are those within `radius` frames of the session. This
    is the first sequence. In each of the others a third of the drive is hidden, so that its queries lie off the map,
    and so much before and after it as has the same in view. A place that the drive passes twice is not known to be one:
    recognised there, a hidden query counts as wrong. Raises VprError for fewer than LEAST_KEYFRAMES.
    """
    drive = longest_session(keyframes)
    n = len(drive)
    if n < LEAST_KEYFRAMES:
        raise VprError(
            f"the longest drive of the map has {n} keyframes, and without poses at least {LEAST_KEYFRAMES} are needed "
            "to match it against itself: calibrate with a labelled second drive, or map a longer one"
        )
    numbers = np.arange(n)
    asking = numbers[1::2]
    truth = [np.flatnonzero(np.abs(numbers[::2] - number) <= max(radius, 1.0)) for number in asking]
    whole = LabelledSequence(
        drive.select(numbers[::2]), drive.descriptors[asking], drive.stamps_ns[asking], None, truth, parts=parts
    )
    margin = -(-frames_in_view(np.asarray(drive.descriptors)) // 2)
    borders = np.linspace(0, len(asking), HIDDEN + 1).astype(int)
    hidden = [hide_stretch(whole, a, b, margin) for a, b in zip(borders, borders[1:], strict=False)]
    return [whole, *hidden], max(radius / 2, 1.0)


def frames_in_view(descriptors: np.ndarray) -> int:
    """After how many frames of a drive (N, dim) nothing of a view is left: they are as alike as far ones may be.

    The median similarity of frames so far apart is no more than the 95th percentile of those of frames a third to half
    of the drive apart; at most N / MOST_IN_VIEW. The constant of the drive is taken out first, else all are alike.
    """
    raw = np.asarray(descriptors, dtype=np.float32)
    views, n = centred(raw, DriveStatistics.of(raw).constant, (raw.shape[1],)), len(raw)

    def alike(lag: int) -> np.ndarray:
        return (views[lag:] * views[: n - lag]).sum(axis=1)

    lags = np.unique(np.linspace(n // 3, n // 2, 8).astype(int))
    far = np.concatenate([alike(lag) for lag in lags])
    ordinary = float(np.quantile(far, 0.95))
    most = n // MOST_IN_VIEW
    return next((lag for lag in range(1, most) if float(np.median(alike(lag))) <= ordinary), most)
