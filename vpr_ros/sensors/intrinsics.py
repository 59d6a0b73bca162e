"""The camera of the pictures as they come, by the CameraInfo that came with them; live and offline the same."""

from collections.abc import Callable
from typing import Any

from vpr_ros.errors import FrameError
from vpr_ros.observation import Rotation
from vpr_ros.sensors.cameras import Camera

UNUSABLE = "camera_info unusable"
_SAME_SHAPE_PX = 1.0  # a side may be off by so much where pictures were scaled down and rounded


class Intrinsics:
    """The newest usable CameraInfo of a camera, for pictures of its size, or of that size scaled, turned upright.

    What cannot be used is told, `tell(event, sentence)`, with each picture that it costs its intrinsics.
    """

    def __init__(self, tell: Callable[[str, str], object]):
        self._tell = tell
        self._camera: Camera | None = None
        self._refused = ""
        self._known: tuple[tuple[int, int], Rotation, Camera | str] | None = None

    def hear(self, msg: Any) -> bool:
        """Take in a CameraInfo; whether it can be used. One that cannot does not replace one that could."""
        self._known = None
        try:
            self._camera = Camera.from_message(msg)
        except (FrameError, ValueError) as error:
            self._refused = str(error)
            return False
        return True

    def of(self, size: tuple[int, int], rotation: Rotation) -> Camera | None:
        """The camera of upright pictures that were of `size` (width, height) before they were turned; else None."""
        if self._camera is None and not self._refused:
            return None
        if self._known is None or self._known[:2] != (size, rotation):
            self._known = size, rotation, self._fitted(size, rotation)
        found = self._known[2]
        if isinstance(found, Camera):
            return found
        self._tell(UNUSABLE, found)
        return None

    def _fitted(self, size: tuple[int, int], rotation: Rotation) -> Camera | str:
        camera, (width, height) = self._camera, size
        if camera is None:
            return self._refused
        if abs(height - width * camera.height / camera.width) > _SAME_SHAPE_PX:
            return (
                f"CameraInfo is of pictures of {camera.width}x{camera.height} pixels, and they have {width}x{height}: "
                "publish the one that belongs to them"
            )
        try:
            return camera.scaled(width, height).turned(rotation)
        except FrameError as error:
            return str(error)
