"""A bag as a stream of observations: images in order of arrival, each with the poses and the cloud of its stamp."""

from array import array
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.observation import Observation
from vpr_ros.sensors.bags.clock_problems import clock_problems
from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics
from vpr_ros.sensors.bags.pose_sources import PoseSources, mounting_of, read_pose_sources
from vpr_ros.sensors.bags.reader import Bag
from vpr_ros.sensors.bags.topics import camera_info_topic, resolve_topics
from vpr_ros.sensors.camera_pictures import CameraPicture, camera_picture
from vpr_ros.sensors.clocks import Clock
from vpr_ros.sensors.clouds import base_cloud, moved
from vpr_ros.sensors.depth_images import MAX_DEPTH_GAP_S, aligned_depth
from vpr_ros.sensors.intrinsics import Intrinsics
from vpr_ros.sensors.payload import frame_of, stamp_ns
from vpr_ros.sensors.stamps import ClockJump, Slips, StampOrder, StampProblem
from vpr_ros.sensors.upright import UNREADABLE_FRAME, Mounting, T_base_upright, turned

_KEPT_SENSED, _KEPT_IMAGES = 32, 64  # memory stays flat whatever the bag's order
ImageProblem = Literal[StampProblem, "image unreadable", "message unreadable"]  # reasons that cost an image


@dataclass(slots=True)
class _Image:
    """An image's message, not yet decoded."""

    bag_time_ns: int
    stamp_ns: int
    msg: Any


@dataclass(slots=True)
class _Frame:
    """An image on its way to an observation."""

    bag_time_ns: int
    stamp_ns: int
    picture: CameraPicture
    frame_id: str
    cloud: np.ndarray | None = None
    depth: np.ndarray | None = None  # (H, W) aligned with the picture as it comes


@dataclass(slots=True)
class _Sensed:
    """The message of a cloud or a depth image, decoded at the first image that needs it."""

    bag_time_ns: int
    stamp_ns: int
    role: "_Role"
    msg: object | None
    points: np.ndarray | None = None  # of a cloud, (N, 3) in the base frame; None with msg None: unusable


_Role: TypeAlias = Literal["points", "depth"]
_Queues: TypeAlias = dict[_Role, deque[_Sensed]]


class Drive:
    """Iterating yields one Observation per usable image of a bag; the bag is streamed, memory stays flat.

    - Stamps are header stamps. Repeated and slightly earlier ones and single slips are skipped and counted; a clock
      that was set back, or a looped bag, is followed (see StampOrder; a recogniser resets itself on it).
      When all header stamps are zero the receive times stand in, and `notes` says so.
    - T_odom_base comes from Odometry, else TF odom -> base; T_map_base from the pose topic or GNSS, else TF map ->
      base. Both are interpolated, never extrapolated, and None where nothing covers the stamp.
    - Images are upright: turned as `config.rotate` says, or as the roll of the camera in TF asks for. With
      `config.least` JPEGs come reduced where they are large, and `whole_image` has all their pixels.
    - `camera` is that of the bag's first usable CameraInfo; None, and a note, where its size does not fit the pictures.
      `T_base_camera` is by TF, None where that does not tell.
    - With `load_clouds`, the nearest cloud in time, in the base frame (TF), moved to the image's time by odometry. With
      `load_depth` that as well where the bag has one, and the depth image of the image's time.

    `skipped` counts by reason what could not be used, `first_errors` keeps each reason's first sentence, `notes`
    counts what is worth telling but lost nothing. `topics` holds the names in use, `datum` the origin of GNSS poses.
    Raises VprError for a bag that cannot be read, has no images, leaves a topic open, or holds no usable image.
    """

    def __init__(self, bag_path, topics: DriveTopics | None = None, config: DriveConfig | None = None, **overrides):
        self.config = replace(config or DriveConfig(), **overrides)
        self.bag = Bag(bag_path)
        try:
            self._asked: DriveTopics = topics or DriveTopics()
            self.topics: DriveTopics = resolve_topics(
                self.bag, self._asked, self.config.load_clouds, self.config.load_depth
            )
        except VprError:
            self.bag.close()
            raise
        self._image_topic: str = self.topics.image or ""
        self.skipped: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.first_errors: dict[str, str] = {}
        self.delivered = 0
        self._sources: PoseSources | None = None
        self._mounting: Mounting | None = None
        self._intrinsics: Intrinsics | None = None

    def __len__(self) -> int:
        """Number of image messages in the bag, usable or not."""
        return self.bag.topic(self._image_topic).count

    @property
    def poses(self) -> PoseSources:
        """Odometry, poses and TF of the bag, read at the first use."""
        if self._sources is None:
            self._sources = read_pose_sources(self.bag, self.topics, self.config, self._asked)
        return self._sources

    @property
    def datum(self) -> tuple[float, float, float] | None:
        """Origin (latitude, longitude, altitude) of T_map_base when it comes from GNSS, else None."""
        return self.poses.datum

    @property
    def mounting(self) -> Mounting:
        """By how much the pictures are turned and why, for the whole drive as for its first image."""
        if self._mounting is None:
            self._mounting = mounting_of(self.config, self.poses, self._camera_frame())
        return self._mounting

    @property
    def intrinsics(self) -> Intrinsics:
        """The camera of the pictures, by the bag's CameraInfo; what cannot be used of it is noted."""
        if self._intrinsics is None:
            self._intrinsics = Intrinsics(lambda _, sentence: self._note(sentence))
            if name := camera_info_topic(self.bag, self._image_topic):
                any(map(self._intrinsics.hear, (msg for *_, msg in self.bag.messages([name], lambda *_: None))))
        return self._intrinsics

    def close(self) -> None:
        """Close the bag."""
        self.bag.close()

    def __enter__(self) -> "Drive":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __iter__(self) -> Iterator[Observation]:
        self.skipped, self.first_errors = Counter(self.poses.rejected), dict(self.poses.first_errors)
        self.notes, self.delivered = Counter(note.sentence for note in self.poses.notes), 0
        times: tuple[array, array] = (array("q"), array("q"))  # of the images: stamps, receipt
        stream, rotation = self._messages(), self.mounting.rotation
        sensed = self.topics.points or self.topics.depth
        for frame in self._with_sensed(stream) if sensed else (f for f in stream if isinstance(f, _Frame)):
            self.delivered += 1
            times[0].append(frame.stamp_ns)
            times[1].append(frame.bag_time_ns)
            pose = self.poses.pose.segment(frame.bag_time_ns)
            T_map_base = pose.at(frame.stamp_ns, self.config.max_gap_s) if pose else None
            yield Observation(
                stamp_ns=frame.stamp_ns,
                image=frame.picture.pixels,
                rotation=rotation,
                camera=self.intrinsics.of(frame.picture.size, rotation),
                T_base_camera=self._T_base_camera(frame),
                cloud=frame.cloud,
                depth=None if frame.depth is None else turned(frame.depth, rotation),
                T_map_base=T_map_base,
                T_odom_base=self.poses.T_odom_base(frame.bag_time_ns, frame.stamp_ns, self.config.max_gap_s),
                covariance=pose.covariance_at(frame.stamp_ns) if pose and T_map_base is not None else None,
                whole=frame.picture.whole,
            )
        if not self.delivered:
            self._no_images()
        self.notes.update(clock_problems(self.poses, Clock.of(*times), self._image_topic))

    def _T_base_camera(self, frame: _Frame) -> np.ndarray | None:
        try:
            T = self.poses.tree.lookup(self.poses.base_frame, frame.frame_id, frame.stamp_ns)
        except VprError:  # the mounting's sentence tells it, and a robot without TF needs none
            return None
        T = T_base_upright(T, frame.frame_id, self.mounting.rotation)
        if T is None:
            self._note(UNREADABLE_FRAME.format(frame.frame_id))
        return T

    def _note(self, sentence: str) -> None:
        self.notes[sentence] += 1

    def _skip(self, reason: str, sentence) -> None:
        self.skipped[reason] += 1
        self.first_errors.setdefault(reason, str(sentence))

    def _messages(self) -> Iterator[_Frame | _Sensed]:
        """Usable images, decoded, and clouds and depth images, not yet decoded, in the order they were received."""
        use_receive_times = self._stamps_are_zero()
        if use_receive_times:
            self.notes["header stamps are all zero: receive times are used"] = 1
        roles: dict[str | None, _Role] = {self.topics.points: "points", self.topics.depth: "depth"}
        names = [n for n in (self.topics.image, self.topics.points, self.topics.depth) if n]
        order: StampOrder[_Image] = StampOrder(self._skip, self._on_jump)
        slips: dict[_Role, Slips[_Sensed]] = {"points": self._slips("cloud"), "depth": self._slips("depth image")}
        size = None
        for topic, bag_time_ns, msg in self.bag.messages(names, lambda _, e: self._skip("message unreadable", e)):
            stamp = bag_time_ns if use_receive_times else stamp_ns(msg)
            if topic != self._image_topic:
                role = roles[topic]
                offset_s = self.config.points_offset_s if role == "points" else 0.0
                one = _Sensed(bag_time_ns, (stamp or bag_time_ns) + round(offset_s * 1e9), role, msg)
                yield from (usable for _, usable in slips[role].take(one.stamp_ns, one))
                continue
            for image in order.take(stamp, _Image(bag_time_ns, stamp, msg)):
                if (frame := self._decoded(image, size)) is not None:
                    size = frame.picture.size
                    yield frame
        for image in order.end():
            if (frame := self._decoded(image, size)) is not None:
                yield frame

    def _decoded(self, image: _Image, size: tuple[int, int] | None) -> _Frame | None:
        """An image with its pixels; None, and counted, where they cannot be read. `size` is the last one's."""
        try:
            picture = camera_picture(image.msg, self.mounting.rotation, self.config.least)
        except FrameError as error:
            name = self.bag.name_at(image.bag_time_ns)
            self._skip("image unreadable", f"{name}: {error}" if name else error)
            return None
        if size is not None and picture.size != size:
            self.notes["image size changed"] += 1
        return _Frame(image.bag_time_ns, image.stamp_ns, picture, frame_of(image.msg))

    def _on_jump(self, jump: ClockJump, _: str) -> None:
        self.notes[jump] += 1

    def _slips(self, what: str) -> Slips[_Sensed]:
        return Slips(lambda *_: self._skip(f"{what} stamp slipped", f"a single {what} has another time"))

    def _with_sensed(self, stream: Iterator[_Frame | _Sensed]) -> Iterator[_Frame]:
        """Hold each image until what was sensed after it has come or `cloud_wait_s` went by, then add the nearest."""
        pending: deque[_Frame] = deque()
        queues: _Queues = {
            role: deque(maxlen=_KEPT_SENSED) for role in get_args(_Role) if getattr(self.topics, role) is not None
        }
        for item in stream:
            if isinstance(item, _Sensed):
                queues[item.role].append(item)
            else:
                if pending and item.stamp_ns < pending[-1].stamp_ns:  # the clock jumped back: another time begins
                    yield from (self._join(frame, queues) for frame in pending)
                    pending.clear()
                    for queue in queues.values():
                        while queue and queue[0].bag_time_ns < item.bag_time_ns:
                            queue.popleft()
                pending.append(item)
            wait_until_ns = item.bag_time_ns - self.config.cloud_wait_s * 1e9
            while pending and (
                all(queue and queue[-1].stamp_ns >= pending[0].stamp_ns for queue in queues.values())
                or len(pending) > _KEPT_IMAGES
                or pending[0].bag_time_ns < wait_until_ns
            ):
                yield self._join(pending.popleft(), queues)
        yield from (self._join(frame, queues) for frame in pending)

    def _join(self, frame: _Frame, queues: _Queues) -> _Frame:
        cloud = _nearest(queues, "points", frame.stamp_ns, self.config.max_cloud_gap_s)
        if cloud is not None:
            if cloud.msg is not None:
                cloud.points, cloud.msg = self._base_cloud(cloud.stamp_ns, cloud.msg), None
            if cloud.points is not None:
                frame.cloud = self._moved(cloud.points, cloud.stamp_ns, frame.stamp_ns, frame.bag_time_ns)
        image = _nearest(queues, "depth", frame.stamp_ns, MAX_DEPTH_GAP_S)
        if image is not None:
            frame.depth = aligned_depth(image.msg, frame.picture.size, self._skip)
        return frame

    def _base_cloud(self, stamp: int, msg) -> np.ndarray | None:
        tree = self.poses.tree
        return base_cloud(msg, self.poses.base_frame, lambda base, frame: tree.lookup(base, frame, stamp), self._skip)

    def _moved(self, points: np.ndarray, from_ns: int, to_ns: int, bag_time_ns: int) -> np.ndarray:
        """Points as the base sees them at the image's time: at 15 m/s half a scan period is 0.75 m."""
        if from_ns == to_ns:
            return points.copy()
        gap_s = self.config.max_gap_s
        T_odom_to, T_odom_from = (self.poses.T_odom_base(bag_time_ns, t, gap_s) for t in (to_ns, from_ns))
        return moved(points, T_odom_from, T_odom_to)

    def _camera_frame(self) -> str:
        """The frame of the first image."""
        first = next(self.bag.messages([self._image_topic], lambda *_: None), None)
        return "" if first is None else frame_of(first[2])

    def _stamps_are_zero(self) -> bool:
        first = islice(self.bag.messages([self._image_topic], lambda *_: None), 3)
        stamps = [stamp_ns(msg) for _, _, msg in first]
        return bool(stamps) and not any(stamps)

    def _no_images(self) -> None:
        reasons = [(n, r) for r, n in self.skipped.items() if r in get_args(ImageProblem)]
        if not reasons:
            raise VprError(
                f"bag {self.bag.path} delivers none of the {len(self)} images that its index counts on "
                f"{self.topics.image}; run 'ros2 bag reindex' on it"
            )
        count, reason = max(reasons)
        raise VprError(
            f"bag {self.bag.path}: none of the {len(self)} images on {self.topics.image} is usable, "
            f"{count} times '{reason}': {self.first_errors[reason]}"
        )


def _nearest(queues: _Queues, role: _Role, stamp: int, max_gap_s: float) -> _Sensed | None:
    """What was sensed nearest to a stamp, None where that is too far away in time."""
    nearest = min(queues.get(role, ()), key=lambda one: abs(one.stamp_ns - stamp), default=None)
    return nearest if nearest is not None and abs(nearest.stamp_ns - stamp) <= max_gap_s * 1e9 else None
