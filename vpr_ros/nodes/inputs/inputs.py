"""The inputs of the nodes: the newest image with the poses and the cloud of its time, as a Drive has them of a bag."""

import time
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vpr_ros.errors import FrameError, VprError
from vpr_ros.nodes.inputs.clocks import ClockWatch
from vpr_ros.nodes.inputs.clouds import CloudTopic
from vpr_ros.nodes.inputs.depth import DepthTopic
from vpr_ros.nodes.inputs.mounting import CameraMounting
from vpr_ros.nodes.inputs.nearest import NearestTopic
from vpr_ros.nodes.inputs.poses import Poses
from vpr_ros.nodes.inputs.problems import ExpectedTopic, topic_problems
from vpr_ros.nodes.inputs.subscription import TopicInput
from vpr_ros.nodes.inputs.transforms import TransformInput
from vpr_ros.observation import Observation, Rotation
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.input_settings import InputSettings
from vpr_ros.runtime.mailbox import Mailbox
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.camera_pictures import camera_picture
from vpr_ros.sensors.intrinsics import Intrinsics
from vpr_ros.sensors.payload import frame_of, stamp_ns
from vpr_ros.sensors.stamps import JUMP_NS, ClockJump, StampOrder, StampProblem
from vpr_ros.sensors.upright import UNREADABLE_FRAME, Mounting, T_base_upright, turned

_ODOM_DEPTH = 200
_FOLLOW_S = 0.5  # how often the reliability is compared with the publishers'
WARNING_PERIOD_S = 5.0  # bad frames come at the camera's rate; /diagnostics has the counts
_STEADY_CAP = 4.0  # a wait lasts at most this many times its ROS time, should the clock stand still


class Inputs:
    """Subscriptions between `start` and `stop`, and observations made of what they brought.

    Callbacks only store. `next` and `observe` are for one worker thread; the rest is for the executor's. What cannot be
    used is counted in health as task "input", with its sentence, before it is refused.
    """

    def __init__(self, node, settings: InputSettings, health: Health):
        self.settings, self._node, self._health = settings, node, health
        self._mailbox, self._arrivals, self._received = Mailbox(), Arrivals(), 0
        self._order: StampOrder[Any] = StampOrder(self._on_unusable, self._on_unusable)
        self._tf = TransformInput(node, self._arrivals, health)
        self._poses = Poses(node, settings, health, self._tf, self._arrivals, _ODOM_DEPTH)
        self._mounting = CameraMounting(node, settings, health, self._tf, self._arrivals)
        self._clouds: CloudTopic | None = None
        if settings.clouds:
            self._clouds = CloudTopic(node, settings, health, self._tf, self._poses, self._arrivals)
        self._depth = DepthTopic(node, settings, health, self._arrivals) if settings.depth else None
        image_type, image_name = (CompressedImage, "image/compressed") if settings.compressed else (Image, "image")
        self._images = TopicInput(
            node, image_type, image_name, self._on_image, settings.image_reliability, settings.image_depth
        )
        self._camera_infos = TopicInput(node, CameraInfo, "camera_info", self._on_camera_info, "auto", 1)
        self._follower: Any = None
        self._clock = ClockWatch(node)
        self._jump_handle: Any = None
        self._clock_jumped = False
        self._camera_msg: CameraInfo | None = None
        self._intrinsics = Intrinsics(self._count_once)
        self._waited_for_camera = False
        self._told: set[str] = set()  # sentences: a lasting lack gets one

    @property
    def received(self) -> int:
        """Images that came since the node was configured."""
        return self._received

    @property
    def dropped(self) -> int:
        """Images overwritten before the worker took them."""
        return self._mailbox.dropped

    @property
    def stamps_ahead_s(self) -> float | None:
        """By how much the last image's stamp was ahead of the node's clock when it came; None before the first."""
        return None if self._clock.ahead_ns is None else self._clock.ahead_ns * 1e-9

    @property
    def image_topic(self) -> str:
        """The image topic's name after remapping."""
        return self._images.topic

    @property
    def mounting(self) -> Mounting | None:
        """By how much pictures are turned and why; None before the first."""
        return self._mounting.found

    @property
    def base_frame(self) -> str:
        """The frame whose poses the observations carry."""
        return self._poses.base_frame

    def start(self) -> None:
        """Subscribe."""
        self._tf.open()
        if self.settings.mount or self.settings.rotate == "auto":
            self._tf.listen()
        self._mounting.start()
        self._poses.start()
        for sensed in self._sensed:
            sensed.start()
        self._camera_infos.start()
        self._images.start()
        self._follower = self._node.create_timer(_FOLLOW_S, self._follow, clock=Clock(clock_type=ClockType.STEADY_TIME))
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True)
        self._jump_handle = self._node.get_clock().create_jump_callback(threshold, post_callback=self._on_jump)

    def stop(self) -> None:
        """Unsubscribe, drop what was received, and end the worker's waits."""
        if self._follower is not None:
            self._node.destroy_timer(self._follower)
            self._follower = None
        self._camera_infos.stop()
        self._images.stop()
        if self._jump_handle is not None:
            self._jump_handle.unregister()
            self._jump_handle = None
        self._poses.stop()
        for sensed in self._sensed:
            sensed.stop()
        self._tf.close()
        self._mailbox.clear()
        self._arrivals.wake()
        self._order.reset()
        self._clock.reset()
        self._told.clear()
        self._waited_for_camera = False
        self._camera_msg, self._intrinsics = None, Intrinsics(self._count_once)

    def next(self, timeout_s: float) -> Any | None:
        """The newest image message that was not taken yet, or None when none came in time."""
        return self._mailbox.take(timeout_s)

    def observe(self, msg) -> Observation:
        """The image decoded, with poses and cloud of its time; waits for those that flow. FrameError: unusable."""
        self._follow_clock()
        stamp = stamp_ns(msg)
        rotation = self._mounting.of(frame_of(msg)).rotation
        begin = time.monotonic()
        try:
            picture = camera_picture(msg, rotation, self.settings.least)
        except FrameError as error:
            self._health.count("input", "image unreadable", str(error))
            raise
        self._health.timed("decode", time.monotonic() - begin)
        self._hear_camera_info()
        wait_s = self.settings.pose_wait_s
        self._poses.wait(stamp, self._deadline(wait_s), _STEADY_CAP * wait_s)
        T_map_base, covariance = self._poses.T_map_base(stamp)
        cloud = None
        depth = None
        wait_s, size = self.settings.cloud_wait_s, picture.size
        if self._clouds:
            cloud = self._clouds.at(stamp, self._deadline(wait_s), _STEADY_CAP * wait_s)
        if self._depth:
            depth = self._depth.at(stamp, size, self._deadline(wait_s), _STEADY_CAP * wait_s)
        T_odom_base = self._poses.T_odom_base(stamp)
        return Observation(
            stamp_ns=stamp,
            image=picture.pixels,
            T_odom_base=T_odom_base,
            T_map_base=T_map_base,
            covariance=covariance,
            cloud=cloud,
            rotation=rotation,
            camera=self._intrinsics.of(size, rotation),
            T_base_camera=self._T_base_camera(msg, rotation) if self.settings.mount else None,
            depth=None if depth is None else turned(depth, rotation),
            whole=picture.whole,
        )

    def T_odom_base_in_tf(self, stamp: int) -> np.ndarray | None:
        """Odometry (4, 4) of the base at a stamp as TF has it, None where it has none; waits as `observe` does."""
        wait_s = self.settings.pose_wait_s
        return self._poses.T_odom_base_in_tf(stamp, self._deadline(wait_s), _STEADY_CAP * wait_s)

    def newest_T_odom_base_in_tf(self) -> np.ndarray | None:
        """The newest odometry (4, 4) of the base in TF; for any thread."""
        return self._tf.newest(self.settings.odom_frame.strip("/"), self.settings.base_frame.strip("/"))

    def _T_base_camera(self, msg, rotation: Rotation) -> np.ndarray | None:
        """Pose (4, 4) of the upright picture's optical frame in the base; None, and counted, when TF does not tell."""
        self._tf.listen()
        try:
            T = self._tf.lookup(self._poses.base_frame, frame_of(msg), stamp_ns(msg))
        except VprError as error:
            # Each failure names another time, and a robot without TF gets one sentence.
            self._count_once("camera frame unknown", str(error), "camera frame unknown")
            return None
        T = T_base_upright(T, frame_of(msg), rotation)
        if T is None:
            self._count_once("camera frame unclear", UNREADABLE_FRAME.format(frame_of(msg)))
        return T

    def _hear_camera_info(self) -> None:
        """Take in the newest camera_info. The first image waits for one that is published, as for poses."""
        if not self._waited_for_camera:
            self._waited_for_camera = True
            if self._node.count_publishers(self._camera_infos.topic):
                wait_s = self.settings.pose_wait_s
                self._arrivals.wait_until(lambda: self._camera_msg is not None, lambda: False, wait_s)
        msg, self._camera_msg = self._camera_msg, None
        if msg is not None:
            self._intrinsics.hear(msg)

    def _count_once(self, event: str, sentence: str, name: str = "") -> None:
        """Count an event; its sentence is said once."""
        told = (name or sentence) in self._told
        self._told.add(name or sentence)
        self._health.count("input", event, "" if told else sentence)

    def problems(self) -> list[str]:
        """Why something that is needed cannot arrive, one sentence each."""
        if not self._images.subscribed:
            return []
        topics = [ExpectedTopic(self._images, True, "image_reliability")]
        topics += [ExpectedTopic(t.input, True, "odom_reliability") for t in self._poses.topics]
        topics += [ExpectedTopic(t.input, False, "odom_reliability") for t in self._poses.optional_topics]
        if self._clouds:
            topics.append(ExpectedTopic(self._clouds.input, self.settings.clouds_needed, "points_reliability"))
        if self._depth:
            topics.append(ExpectedTopic(self._depth.input, self._depth.input.remapped, "image_reliability"))
        return [*topic_problems(self._node, topics), *self._clock.problems()]

    @property
    def topics(self) -> list[TopicInput]:
        """What is subscribed, TF aside; the images first."""
        poses = [t.input for t in (*self._poses.topics, *self._poses.optional_topics)]
        sensed = [one.input for one in self._sensed]
        return [t for t in (self._images, self._camera_infos, *poses, *sensed) if t.subscribed]

    @property
    def _sensed(self) -> list[NearestTopic]:
        return [one for one in (self._clouds, self._depth) if one is not None]

    def _follow(self) -> None:
        for sentence in self._clock.look():
            self._node.get_logger().warning(sentence)
        for topic in self.topics:
            topic.follow()

    def _on_image(self, msg) -> None:
        # Here, not in the worker: which stamps are wrong must not depend on the images that were dropped.
        self._received += 1
        self._health.seen("image")
        self._clock.image(stamp_ns(msg))
        for image in self._order.take(stamp_ns(msg), msg):
            self._mailbox.put(image)

    def _on_unusable(self, event: StampProblem | ClockJump, sentence: str) -> None:
        self._health.count("input", event, sentence)
        self._node.get_logger().warning(sentence, throttle_duration_sec=WARNING_PERIOD_S)

    def _on_camera_info(self, msg) -> None:
        with self._arrivals:
            self._camera_msg = msg  # decoded on demand
            self._arrivals.notify()

    def _on_jump(self, _) -> None:
        self._clock_jumped = True  # handled by the worker: a clock's callback must be quick

    def _follow_clock(self) -> None:
        """After the clock was set back, what is stamped later than now belongs to the time before."""
        if self._clock_jumped:
            self._clock_jumped = False
            limit = self._node.get_clock().now().nanoseconds + JUMP_NS
            for source in (self._poses, self._tf, *self._sensed):
                source.forget_after(limit)

    def _deadline(self, wait_s: float):
        """Whether so many seconds have passed from now on, of ROS time and of steady time; or the clock was set back.

        ROS time, because a slow replay sends late; steady time, because a fast one leaves the machine no time.
        """
        clock, steady = self._node.get_clock(), time.monotonic()
        begin = clock.now().nanoseconds

        def passed() -> bool:
            elapsed = clock.now().nanoseconds - begin
            return elapsed < 0 or (elapsed >= wait_s * 1e9 and time.monotonic() - steady >= wait_s)

        return passed
