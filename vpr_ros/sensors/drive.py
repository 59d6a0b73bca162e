"""A bag as a stream of observations: images in order of arrival, each with the poses and the cloud of its stamp."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import invert
from vpr_ros.observation import Observation
from vpr_ros.sensors.bags import Bag
from vpr_ros.sensors.buffers import frame_of, stamp_ns
from vpr_ros.sensors.clouds import decode_cloud
from vpr_ros.sensors.images import decode_image
from vpr_ros.sensors.poses import JUMP_NS, PoseTrack, read_pose_sources, tf_track
from vpr_ros.sensors.topics import DriveTopics


@dataclass(frozen=True)
class DriveConfig:
    """How a bag is read."""

    max_gap_s: float = 1.0  # poses are interpolated between samples at most this far apart
    load_clouds: bool = False
    max_cloud_gap_s: float = 0.1  # the cloud nearest to an image may be this far away in time
    cloud_wait_s: float = 1.0  # receive time that an image waits for a cloud of its stamp
    base_frame: str = "base_link"
    odom_frame: str = "odom"
    map_frame: str = "map"
    datum: tuple[float, float, float] | None = None  # latitude, longitude (degrees), altitude of the map's origin


class Drive:
    """Iterating yields one Observation per usable image of a bag; the bag is streamed, memory stays flat.

    - Stamps are header stamps. A repeated or slightly earlier stamp is skipped and counted; a stamp more than one
      second back is a restarted clock or looped bag: frames go on from there (a recogniser resets itself on it).
      When all header stamps are zero the receive times stand in, and `notes` says so.
    - T_odom_base comes from Odometry, else TF odom -> base; T_map_base from the pose topic or GNSS, else TF map ->
      base. Both are interpolated, never extrapolated, and None where nothing covers the stamp.
    - With `load_clouds`, the nearest cloud in time, in the base frame (TF), moved to the image's time by odometry.

    `skipped` counts by reason what could not be used, `first_errors` keeps each reason's first sentence, `notes`
    counts what is worth telling but lost nothing. `topics` holds the names in use, `datum` the origin of GNSS poses.
    Raises VprError for a bag that cannot be read, has no images, leaves a topic open, or holds no usable image.
    """

    def __init__(self, bag_path, topics: DriveTopics | None = None, config: DriveConfig | None = None, **overrides):
        self.config = replace(config or DriveConfig(), **overrides)
        self.bag = Bag(bag_path)
        asked = topics or DriveTopics()
        try:
            self.topics = replace(
                asked,
                image=self.bag.choose("image", asked.image),
                odom=self.bag.choose("odom", asked.odom),
                pose=self.bag.choose("pose", asked.pose),
                points=self.bag.choose("points", asked.points) if self.config.load_clouds else None,
            )
        except VprError:
            self.bag.close()
            raise
        self.skipped: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.first_errors: dict[str, str] = {}
        self.delivered = 0
        self._sources = None
        self._odom, self._pose = PoseTrack(), PoseTrack()
        self._T_child_base = np.eye(4)

    def __len__(self) -> int:
        """Number of image messages in the bag, usable or not."""
        return self.bag.topic(self.topics.image).count

    @property
    def datum(self) -> tuple[float, float, float] | None:
        """Origin (latitude, longitude, altitude) of T_map_base when it comes from GNSS, else None."""
        return self._read_poses().datum

    @property
    def has_odometry(self) -> bool:
        """Whether any odometry pose was found."""
        self._read_poses()
        return len(self._odom) > 0

    @property
    def has_poses(self) -> bool:
        """Whether any pose in the map frame was found."""
        self._read_poses()
        return len(self._pose) > 0

    def close(self) -> None:
        """Close the bag."""
        self.bag.close()

    def __enter__(self) -> "Drive":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __iter__(self) -> Iterator[Observation]:
        sources = self._read_poses()
        self.skipped, self.first_errors = Counter(sources.rejected), dict(sources.first_errors)
        self.notes, self.delivered = Counter(), 0
        if self._frames_differ():
            self.notes[f"odometry is about {self._odom.child_frame_id}, TF does not link it to "
                       f"{self.config.base_frame}: taken as the base"] = 1
        frames = self._images()
        if self.topics.points is not None:
            frames = self._with_clouds(frames)
        for bag_time_ns, stamp, image, cloud in frames:
            self.delivered += 1
            yield self._observe(bag_time_ns, stamp, image, cloud)
        if not self.delivered:
            self._no_images()

    def _observe(self, bag_time_ns: int, stamp: int, image, cloud) -> Observation:
        odom, pose = self._odom.segment(bag_time_ns), self._pose.segment(bag_time_ns)
        gap_s = self.config.max_gap_s
        T_odom_child = odom.at(stamp, gap_s) if odom else None
        T_map_base = pose.at(stamp, gap_s) if pose else None
        return Observation(
            stamp_ns=stamp, image=image, cloud=cloud, T_map_base=T_map_base,
            T_odom_base=None if T_odom_child is None else T_odom_child @ self._T_child_base,
            covariance=pose.covariance_at(stamp) if pose and T_map_base is not None else None,
        )

    def _skip(self, reason: str, sentence) -> None:
        self.skipped[reason] += 1
        self.first_errors.setdefault(reason, str(sentence))

    def _messages(self):
        names = [n for n in (self.topics.image, self.topics.points) if n]
        return self.bag.messages(names, lambda topic, error: self._skip("message unreadable", error))

    def _images(self):
        """(bag_time_ns, stamp, image, None) of usable images, with clouds' messages as (bag_time, None, msg, None)."""
        use_receive_times = self._stamps_are_zero()
        if use_receive_times:
            self.notes["header stamps are all zero: receive times are used"] = 1
        last, size = None, None
        for topic, bag_time_ns, msg in self._messages():
            if topic != self.topics.image:
                yield bag_time_ns, None, msg, None
                continue
            stamp = bag_time_ns if use_receive_times else stamp_ns(msg)
            if stamp == 0:
                self._skip("image stamp zero", "image has a zero stamp amid stamped ones; the driver lost its clock")
                continue
            if last is not None and stamp <= last:
                if stamp == last:
                    self._skip("image stamp repeated", f"image repeats the stamp {stamp * 1e-9:.6f} s")
                    continue
                if last - stamp <= JUMP_NS:
                    self._skip("image stamp went backwards",
                               f"image stamp went back from {last * 1e-9:.6f} s to {stamp * 1e-9:.6f} s")
                    continue
                self.notes["clock jumped back"] += 1
            try:
                image = decode_image(msg)
            except FrameError as error:
                self._skip("image unreadable", error)
                continue
            if size is not None and image.shape != size:
                self.notes["image size changed"] += 1
            last, size = stamp, image.shape
            yield bag_time_ns, stamp, image, None

    def _with_clouds(self, stream):
        """Hold each image until the cloud after it has come or `cloud_wait_s` went by, then add the nearest cloud."""
        pending, clouds = deque(), deque(maxlen=32)
        newest_cloud = None
        for bag_time_ns, stamp, item, _ in stream:
            if stamp is None:
                # Like the images' stamps, those of clouds may all be zero.
                newest_cloud = stamp_ns(item) or bag_time_ns
                clouds.append([newest_cloud, item, None])
            else:
                if pending and stamp < pending[-1][1]:  # the clock jumped back: earlier clouds are of another time
                    while pending:
                        yield self._join(*pending.popleft(), clouds)
                    clouds.clear()
                    newest_cloud = None
                pending.append((bag_time_ns, stamp, item))
            while pending and ((newest_cloud is not None and newest_cloud >= pending[0][1]) or len(pending) > 64
                               or bag_time_ns - pending[0][0] > self.config.cloud_wait_s * 1e9):
                yield self._join(*pending.popleft(), clouds)
        while pending:
            yield self._join(*pending.popleft(), clouds)

    def _join(self, bag_time_ns: int, stamp: int, image, clouds):
        nearest = min(clouds, key=lambda c: abs(c[0] - stamp), default=None)
        if nearest is None or abs(nearest[0] - stamp) > self.config.max_cloud_gap_s * 1e9:
            return bag_time_ns, stamp, image, None
        if nearest[2] is None:  # decoded once, however many images are nearest to it; False marks an unusable one
            points = self._base_cloud(nearest[0], nearest[1])
            nearest[1], nearest[2] = None, False if points is None else points
        if nearest[2] is False:
            return bag_time_ns, stamp, image, None
        return bag_time_ns, stamp, image, self._moved(nearest[2], nearest[0], stamp, bag_time_ns)

    def _base_cloud(self, stamp: int, msg) -> np.ndarray | None:
        try:
            points = decode_cloud(msg)
        except FrameError as error:
            self._skip("cloud unusable", error)
            return None
        base = self._odom.child_frame_id if self._frames_differ() else self.config.base_frame
        try:
            T_base_lidar = np.eye(4) if frame_of(msg) == base else self._sources.tree.lookup(base, frame_of(msg), stamp)
        except VprError as error:
            self._skip("cloud frame unknown", error)
            return None
        return (points @ T_base_lidar[:3, :3].T + T_base_lidar[:3, 3]).astype(np.float32)

    def _moved(self, points: np.ndarray, from_ns: int, to_ns: int, bag_time_ns: int) -> np.ndarray:
        """Points as the base sees them at the image's time: at 15 m/s half a scan period is 0.75 m."""
        odom = self._odom.segment(bag_time_ns)
        poses = [odom.at(t, self.config.max_gap_s) for t in (to_ns, from_ns)] if odom else [None]
        if from_ns == to_ns or any(p is None for p in poses):
            return points.copy()
        T = invert(poses[0] @ self._T_child_base) @ poses[1] @ self._T_child_base
        return (points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)

    def _stamps_are_zero(self) -> bool:
        first = islice(self.bag.messages([self.topics.image], lambda *_: None), 3)
        stamps = [stamp_ns(msg) for _, _, msg in first]
        return bool(stamps) and not any(stamps)

    def _read_poses(self):
        if self._sources is None:
            c, t = self.config, self.topics
            moving = t.odom is None or t.pose is None or c.load_clouds
            self._sources = read_pose_sources(self.bag, t, c.max_gap_s, c.datum, moving)
            tree = self._sources.tree
            self._odom = self._sources.odom if t.odom else tf_track(tree, c.odom_frame, c.base_frame)
            self._pose = self._sources.pose if t.pose else tf_track(tree, c.map_frame, c.base_frame)
            if self._frames_differ(ignore_tf=True):
                try:
                    self._T_child_base = tree.lookup(self._odom.child_frame_id, c.base_frame)
                except VprError:
                    self._T_child_base = np.eye(4)
        return self._sources

    def _frames_differ(self, ignore_tf: bool = False) -> bool:
        """Whether odometry speaks of another frame than the base (and, unless ignored, TF does not link the two)."""
        child = self._odom.child_frame_id
        if not child or child == self.config.base_frame:
            return False
        frames = self._sources.tree.frames
        return ignore_tf or not {child, self.config.base_frame} <= set(frames)

    def _no_images(self) -> None:
        reasons = [(n, r) for r, n in self.skipped.items() if r.startswith(("image", "message"))]
        if not reasons:
            raise VprError(f"bag {self.bag.path} delivers none of the {len(self)} images that its index counts on "
                           f"{self.topics.image}; run 'ros2 bag reindex' on it")
        count, reason = max(reasons)
        raise VprError(f"bag {self.bag.path}: none of the {len(self)} images on {self.topics.image} is usable, "
                       f"{count} times '{reason}': {self.first_errors[reason]}")
