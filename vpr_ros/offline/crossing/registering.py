"""Registrations of frames of two drives: what was measured between two rows, and the clouds prepared for it."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from vpr_ros.offline.crossing.config import CrossingConfig
from vpr_ros.verification import PreparedCloud, Verified, prepare_cloud, register

PREPARED = 96  # clouds of a drive that stay prepared: a few hundred megabytes at most


class Registrar:
    """Registers frames of a second drive with frames of a first one."""

    def __init__(self, first: Sequence[np.ndarray], second: Sequence[np.ndarray], config: CrossingConfig) -> None:
        self._config = config.registration

        @lru_cache(PREPARED)
        def prepared(drive: int, row: int) -> PreparedCloud | None:
            return prepare_cloud((first, second)[drive][row], self._config)

        self._prepared = prepared

    def __call__(self, first: int, second: int, T_guess: np.ndarray | None = None) -> Verified:
        """T_first_second of two rows; with a guess only the registration that begins there."""
        query, keyframe = self._prepared(1, second), self._prepared(0, first)
        return register(query, keyframe, T_guess, self._config, only_init=T_guess is not None)
