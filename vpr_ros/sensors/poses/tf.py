"""The TF tree of a bag: fixed and moving links between frames."""

from array import array

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import invert, make_transform
from vpr_ros.sensors.clocks import Clock
from vpr_ros.sensors.payload import frame_of, stamp_ns
from vpr_ros.sensors.poses.frame_graph import FrameGraph, Link, Step
from vpr_ros.sensors.poses.trajectory import Trajectory, rigid


class TransformTree:
    """Links parent -> child from TF messages, asked for between any two frames at any covered time.

    A link is known by its parent and its child: where a frame has two parents, each link is read by itself, and frames
    that are connected in two ways are refused.
    """

    def __init__(self, max_gap_s: float = 1.0):
        self.max_gap_s = max_gap_s
        self.rejected = 0  # links with NaN or a zero quaternion, which were left out
        self._graph = FrameGraph()
        self._static: dict[Link, np.ndarray] = {}
        # Compact while reading (8 numbers a sample); a Trajectory is made when a link is first asked for.
        self._samples: dict[Link, tuple[array, array, array]] = {}  # stamps, values, times of receipt
        self._moving: dict[Link, Trajectory] = {}

    @property
    def frames(self) -> list[str]:
        """All frame names, sorted."""
        return self._graph.frames

    @property
    def disputed(self) -> dict[str, list[str]]:
        """Frames with more than one parent, and their parents, sorted."""
        return self._graph.disputed

    def add(self, tf_msg, static: bool, received_ns: int = 0) -> None:
        """Take the links of one TFMessage, received at a time. Links that hold no pose are counted in `rejected`."""
        for link in tf_msg.transforms:
            child, parent = str(link.child_frame_id).lstrip("/"), frame_of(link)
            p, q = link.transform.translation, link.transform.rotation
            try:
                T = rigid(p, q)
            except FrameError:
                self.rejected += 1
                continue
            if not child or not parent or child == parent:
                self.rejected += 1
                continue
            self._graph.add(parent, child)
            if static:
                self._static[parent, child] = T
                continue
            stamps, values, received = self._samples.setdefault((parent, child), (array("q"), array("d"), array("q")))
            stamps.append(stamp_ns(link))
            received.append(received_ns)
            values.extend((p.x, p.y, p.z, q.x, q.y, q.z, q.w))
            self._moving.pop((parent, child), None)

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> np.ndarray:
        """T_target_source (4, 4) at a stamp; without a stamp only fixed links are used.

        Moving links are interpolated between samples at most `max_gap_s` apart, never extrapolated.
        Raises VprError naming the frames that are missing, not connected, connected in two ways, or not covered at
        that time.
        """
        steps = self._path(target, source)
        moving = [link for link, _ in steps if link not in self._static]
        if moving and stamp_ns is None:
            raise VprError(f"TF link {' -> '.join(moving[0])} moves; a stamp is needed to ask for it")
        stamp = stamp_ns or 0
        T, covered = self._composed(steps, np.array([stamp]))
        if covered[0]:
            return T[0]
        link = next(c for c in moving if self._trajectory(c).at(stamp, self.max_gap_s) is None)
        raise VprError(f"TF link {' -> '.join(link)} is not known at {stamp * 1e-9:.3f} s")

    def lookup_many(self, target: str, source: str, stamps_ns) -> tuple[np.ndarray, np.ndarray]:
        """T_target_source (M, 4, 4) at stamps (M,) and where all links are known (M,) bool; NaN elsewhere.

        Raises VprError naming the frames that are missing, not connected or connected in two ways.
        """
        return self._composed(self._path(target, source), np.asarray(stamps_ns, np.int64))

    def clock(self, target: str, source: str) -> Clock:
        """Stamps, increasing, and times of receipt of the moving link with the most samples between two frames.

        Without messages where no moving link is between them. Raises VprError as `lookup_many` does.
        """
        links = [link for link, _ in self._path(target, source) if link in self._samples and link not in self._static]
        if not links:
            return Clock.of((), ())
        stamps, _, received = self._samples[max(links, key=lambda link: len(self._trajectory(link)))]
        increasing, rows = np.unique(np.array(stamps, np.int64), return_index=True)
        return Clock(increasing, np.array(received, np.int64)[rows])

    def _path(self, target: str, source: str) -> list[Step]:
        return self._graph.path(target.lstrip("/"), source.lstrip("/"))

    def _composed(self, steps: list[Step], stamps_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        T, covered = np.tile(np.eye(4), (len(stamps_ns), 1, 1)), np.ones(len(stamps_ns), bool)
        for link, downwards in steps:
            if link in self._static:
                T_parent_child = self._static[link]
            else:
                T_parent_child, known = self._trajectory(link).at_many(stamps_ns, self.max_gap_s)
                covered &= known
            T = T @ (T_parent_child if downwards else invert(T_parent_child))
        T[~covered] = np.nan
        return T, covered

    def _trajectory(self, link: Link) -> Trajectory:
        if link not in self._moving:
            stamps, values, _ = self._samples[link]
            rows = np.array(values).reshape(-1, 7)
            self._moving[link] = Trajectory(np.array(stamps, np.int64), make_transform(rows[:, :3], rows[:, 3:]))
        return self._moving[link]
