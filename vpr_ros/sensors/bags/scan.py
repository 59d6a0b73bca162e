"""What one topic of a bag delivered: rate, gaps, order of stamps, encoding and size."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.sensors.bags.reader import Bag, TopicInfo
from vpr_ros.sensors.bags.topics import CAMERA_INFO, COMPRESSED, IMAGE, NAVSAT, ODOMETRY, POINTS, POSE, POSE_COVARIANCE
from vpr_ros.sensors.cameras import Camera
from vpr_ros.sensors.clouds import decode_cloud
from vpr_ros.sensors.images import decode_image
from vpr_ros.sensors.payload import frame_of, stamp_ns
from vpr_ros.sensors.picture_doubts import Doubt, doubt_of, encoding_of

_STAMPED = (IMAGE, COMPRESSED, POINTS, ODOMETRY, POSE, POSE_COVARIANCE, NAVSAT, CAMERA_INFO)
_SAMPLES = 12  # messages per topic that are decoded in full


@dataclass
class TopicScan:
    """Figures of one topic. Times are header stamps where the type has them, else receive times."""

    name: str
    msgtype: str
    count: int
    rate_hz: float = 0.0
    median_dt_s: float = 0.0
    max_gap_s: float = 0.0
    stamped: bool = False
    zero_stamps: int = 0
    repeated_stamps: int = 0
    backward_stamps: int = 0
    detail: str = ""  # encoding and size, points per cloud, frames
    frame_id: str = ""
    sampled: int = 0
    unusable: int = 0  # of the sampled messages
    first_error: str = ""
    doubts: dict[Doubt, int] = field(default_factory=dict)  # sampled pictures that can be read and show nothing
    stamps_ns: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    bag_times_ns: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)

    @property
    def order(self) -> str:
        """How the stamps run, in words."""
        if not self.stamped:
            return "receive time"
        if self.count and self.zero_stamps == self.count:
            return "all zero"
        parts = [
            f"{n} {word}"
            for n, word in (
                (self.backward_stamps, "backwards"),
                (self.repeated_stamps, "repeated"),
                (self.zero_stamps, "zero"),
            )
            if n
        ]
        return ", ".join(parts) or "in order"


def scan_topics(bag: Bag) -> list[TopicScan]:
    """Read a bag once per kind of topic and measure each; messages are streamed, only times are kept."""
    scans: dict[str, TopicScan] = {}
    for t in bag.topics:  # of a topic in several encodings the one that is read comes first
        scans.setdefault(t.name, TopicScan(t.name, t.msgtype, t.count, stamped=_decodes(t)))
    stamps = {name: array("q") for name in scans}
    times = {name: array("q") for name in scans}
    looks: dict[str, Counter] = {name: Counter() for name in scans}

    def unreadable(topic: str, error: FrameError) -> None:
        scans[topic].sampled += 1
        _fail(scans[topic], error)

    for name, bag_time_ns, msg in bag.messages([t.name for t in bag.topics if _decodes(t)], unreadable):
        scan = scans[name]
        every = max(scan.count // _SAMPLES, 1)
        if len(stamps[name]) % every == 0:
            _look(scan, looks[name], msg)
        stamps[name].append(stamp_ns(msg))
        times[name].append(bag_time_ns)
    for name, bag_time_ns in bag.receive_times([s.name for s in scans.values() if not s.stamped]):
        times[name].append(bag_time_ns)
    for name, scan in scans.items():
        scan.bag_times_ns = np.array(times[name], np.int64)
        scan.stamps_ns = np.array(stamps[name], np.int64) if scan.stamped else scan.bag_times_ns
        scan.detail = ", ".join(look for look, _ in looks[name].most_common(3)) + (
            ", ..." if len(looks[name]) > 3 else ""
        )
        _measure(scan)
    for t in bag.topics:
        if not t.readable and not scans[t.name].stamped:
            scans[t.name].detail = f"{t.encoding}, which is not read"
    return list(scans.values())


def _decodes(topic: TopicInfo) -> bool:
    return topic.readable and topic.msgtype in _STAMPED


def _fail(scan: TopicScan, error: FrameError) -> None:
    scan.unusable += 1
    scan.first_error = scan.first_error or str(error)


def _look(scan: TopicScan, looks: Counter, msg) -> None:
    scan.sampled += 1
    scan.frame_id = scan.frame_id or frame_of(msg)
    try:
        if scan.msgtype in (IMAGE, COMPRESSED):
            image = decode_image(msg)
            height, width = image.shape[:2]
            if (doubt := doubt_of(image, encoding_of(msg))) is not None:
                scan.doubts[doubt] = scan.doubts.get(doubt, 0) + 1
            looks[f"{msg.encoding if scan.msgtype == IMAGE else msg.format} {width}x{height}"] += 1
        elif scan.msgtype == POINTS:
            points = decode_cloud(msg)
            # Rounded to two digits: every scan has another count, and the order of magnitude is what matters.
            looks[f"about {float(f'{len(points):.2g}'):.0f} points in {frame_of(msg)}"] += 1
            if not len(points):
                raise FrameError("cloud holds no finite point")
        elif scan.msgtype == CAMERA_INFO:
            camera = Camera.from_message(msg)
            looks[f"{camera.model} {camera.width}x{camera.height}"] += 1
        else:
            child = str(getattr(msg, "child_frame_id", ""))
            looks[f"{frame_of(msg)} -> {child}" if child else frame_of(msg)] += 1
    except FrameError as error:
        _fail(scan, error)


def _measure(scan: TopicScan) -> None:
    if scan.stamped:
        steps = np.diff(scan.stamps_ns)
        scan.zero_stamps = int((scan.stamps_ns == 0).sum())
        scan.repeated_stamps = int((steps == 0).sum())
        scan.backward_stamps = int((steps < 0).sum())
        if scan.zero_stamps == len(scan.stamps_ns):
            scan.repeated_stamps = 0
    clock = scan.bag_times_ns if scan.stamped and not scan.stamps_ns.any() else scan.stamps_ns
    gaps_s = np.diff(clock) * 1e-9
    gaps_s = gaps_s[gaps_s > 0]
    if len(gaps_s):
        scan.median_dt_s, scan.max_gap_s = float(np.median(gaps_s)), float(gaps_s.max())
        scan.rate_hz = len(gaps_s) / float(gaps_s.sum())
