"""Learning-rate schedules by name, as the factor of the base rate at each optimiser step."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from vpr_ros.errors import VprError

Schedule = Literal["cosine", "constant", "steps", "d2vpr-released"]
COSINE_FLOOR = 0.01  # of the base rate, at the end of a run
RELEASED_WARMUP_EPOCHS = 3900  # of D2-VPR's released second stage, which ends after 120 (METHODS 1.8)


def rate_factor(
    name: Schedule,
    steps_per_epoch: int,
    epochs: int,
    *,
    milestones: Sequence[int] = (),
    decay: float = 0.1,
    warmup_fraction: float = 0.0,
) -> Callable[[int], float]:
    """Step (from 0, over the whole run) -> factor of the base learning rate.

    `cosine` decays to a hundredth, `constant` does not change, `steps` is multiplied by `decay` at each epoch of
    `milestones` (counted from 0, so that 10 means after ten epochs); these three rise linearly over the first
    `warmup_fraction` of the run. `d2vpr-released` rises linearly over 3900 epochs, independently of the run's length,
    and ignores milestones and warm-up, so that 120 epochs reach 3 % of the base rate. VprError for another name.
    """
    if name not in get_args(Schedule):
        raise VprError(f"schedule is '{name}': choose one of {', '.join(get_args(Schedule))}.")
    if steps_per_epoch < 1 or epochs < 1:
        raise VprError(f"a schedule over {epochs} epochs of {steps_per_epoch} steps is empty: both must be 1 or more.")
    total = epochs * steps_per_epoch
    warmup = int(warmup_fraction * total)
    if name == "cosine":
        warmup = max(1, warmup)  # its first step is at the full rate even so
    released = RELEASED_WARMUP_EPOCHS * steps_per_epoch

    def factor(step: int) -> float:
        if name == "d2vpr-released":
            return min(1.0, (step + 1) / released)
        if step < warmup:
            return (step + 1) / warmup
        if name == "cosine":
            done = min(1.0, (step - warmup) / max(1, total - warmup))
            return COSINE_FLOOR + (1 - COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * done))
        if name == "steps":
            return decay ** sum(step // steps_per_epoch >= milestone for milestone in milestones)
        return 1.0

    return factor
