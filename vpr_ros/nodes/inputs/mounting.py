"""How the camera stands, from TF or as told: decided with the first images, as a Drive does with a bag's first."""

from vpr_ros.nodes.inputs.transforms import TransformInput
from vpr_ros.observation import Rotation
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.input_settings import InputSettings
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.upright import Mounting, mounting_by_tf, told


class CameraMounting:
    """The mounting that is in force between `start` and the next one. `of` is for one worker thread."""

    def __init__(self, node, settings: InputSettings, health: Health, tf: TransformInput, arrivals: Arrivals):
        self._node, self._health, self._tf, self._arrivals = node, health, tf, arrivals
        self._told, self._pose_wait_s = told(settings.rotate), settings.pose_wait_s
        self._base_frame = settings.base_frame.strip("/")
        self.start()

    @property
    def rotation(self) -> Rotation:
        """In force; 0 before the first image."""
        return 0 if self.found is None else self.found.rotation

    def start(self) -> None:
        """Forget what was found."""
        self.found: Mounting | None = self._told

    def of(self, camera_frame: str) -> Mounting:
        """The mounting of the camera of an image, in the base frame of the settings.

        What TF has said stays; while it says nothing it is asked again. The first image waits for the fixed links of
        all their publishers, but no longer than for poses: a picture that is described before it is turned is a wrong
        one in the map.
        """
        if self.found is not None and self.found.reason != "no TF":
            return self.found

        publishers = self._node.count_publishers("/tf_static") if self.found is None else 0

        def known() -> bool:
            return self._tf.fixed_messages >= publishers or self._tf.links.connected(self._base_frame, camera_frame)

        self._arrivals.wait_until(known, lambda: False, self._pose_wait_s)
        T_base_camera = self._tf.fixed(self._base_frame, camera_frame)
        self.found = mounting_by_tf(T_base_camera, self._base_frame, camera_frame)
        if self.found.unclear:
            self._health.count("input", "camera's roll unclear", self.found.sentence)
        return self.found
