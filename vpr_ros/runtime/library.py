"""From a picture to an answer in Python: `vpr_ros.Localizer` and `vpr_ros.read_image`."""

from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import VprError
from vpr_ros.observation import Observation
from vpr_ros.recognition import Recognition
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.parameters.reading import chosen, parameters_of
from vpr_ros.runtime.parameters.values import pipeline_config
from vpr_ros.runtime.pipeline import Pipeline

FRAME_NS = 100_000_000  # between images whose times nobody tells


def read_image(path: str | Path) -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of a picture file; VprError, in one sentence, for one that cannot be read."""
    return pictures.load(path)


class Localizer:
    """A map that is asked with images, in the order in which a camera took them, as the node asks it.

    `parameters` are those of the node, by name, such as `accept_probability=0.9` or, where the map was not made with
    nano, `checkpoint` (`vpr_ros parameters localize` lists them). Answers of a drive build on one another: after
    `forget`, an image stands for itself again. VprError for a map that cannot be read, is of another network or empty,
    and for parameters that do not exist or are out of range.
    """

    def __init__(self, map_path: str | Path, **parameters: Any):
        known = parameters_of("localize")
        for name in parameters:
            if name not in known:
                raise VprError(f"Localizer has no parameter '{name}': `vpr_ros parameters localize` lists them.")
        texts = {name: str(value) if isinstance(value, Path) else value for name, value in parameters.items()}
        values = chosen("localize", explicit={name: ("Localizer", value) for name, value in texts.items()})
        config = pipeline_config(values | {"map_path": str(map_path), "mode": "localize", "local_budget_s": 0.0})
        self._pipeline = Pipeline.open(config, Health())
        self._last_ns = 0

    def localize(
        self, image: np.ndarray, stamp_ns: int | None = None, T_odom_base: np.ndarray | None = None
    ) -> Recognition:
        """Where `image` (H, W, 3) uint8 RGB, upright, was taken: ranked places, and whether one is accepted.

        `stamp_ns` is its time (by default a tenth of a second after the last image), `T_odom_base` (4, 4) the odometry
        at that time, if there is any. FrameError for an image that cannot be used, and for a time already answered.
        """
        stamp_ns = self._last_ns + FRAME_NS if stamp_ns is None else int(stamp_ns)
        recognition = self._pipeline.process(Observation(stamp_ns, image, T_odom_base=T_odom_base)).recognition
        assert recognition is not None
        self._last_ns = stamp_ns
        return recognition

    def forget(self) -> None:
        """The next image is taken as the first of a drive: nothing is known of where it may be."""
        if self._pipeline.recogniser is not None:
            self._pipeline.recogniser.reset("asked to forget")

    def picture(self, keyframe_id: int) -> np.ndarray | None:
        """What the map keeps of a keyframe's picture, (H, W, 3) uint8 RGB; None where it keeps none."""
        return pictures.decode(self._pipeline.place_map.thumbnail(keyframe_id))

    def close(self) -> None:
        """Closes the map."""
        self._pipeline.close()

    def __enter__(self) -> "Localizer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
