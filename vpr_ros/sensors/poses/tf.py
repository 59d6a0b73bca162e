"""The TF tree of a bag: fixed and moving links between frames."""

from array import array

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import invert, make_transform
from vpr_ros.sensors.payload import frame_of, stamp_ns
from vpr_ros.sensors.poses.trajectory import Trajectory, rigid


class TransformTree:
    """Links parent -> child from TF messages, asked for between any two frames at any covered time."""

    def __init__(self, max_gap_s: float = 1.0):
        self.max_gap_s = max_gap_s
        self.rejected = 0  # links with NaN or a zero quaternion, which were left out
        self._parent: dict[str, str] = {}
        self._static: dict[str, np.ndarray] = {}
        # Compact while reading (8 numbers a sample); a Trajectory is made when a link is first asked for.
        self._samples: dict[str, tuple[array, array]] = {}
        self._moving: dict[str, Trajectory] = {}

    @property
    def frames(self) -> list[str]:
        """All frame names, sorted."""
        return sorted(set(self._parent) | set(self._parent.values()))

    def add(self, tf_msg, static: bool) -> None:
        """Take the links of one TFMessage. Links that hold no pose are counted in `rejected`."""
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
            self._parent[child] = parent
            if static:
                self._static[child] = T
                continue
            stamps, values = self._samples.setdefault(child, (array("q"), array("d")))
            stamps.append(stamp_ns(link))
            values.extend((p.x, p.y, p.z, q.x, q.y, q.z, q.w))
            self._moving.pop(child, None)

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> np.ndarray:
        """T_target_source (4, 4) at a stamp; without a stamp only fixed links are used.

        Moving links are interpolated between samples at most `max_gap_s` apart, never extrapolated.
        Raises VprError naming the frames that are missing, not connected or not covered at that time.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        known = set(self.frames)
        missing = [f for f in (target, source) if f not in known]
        if missing and target != source:
            raise VprError(f"TF has no frame {' and no frame '.join(missing)}; it has {', '.join(known_list(known))}")
        up_target, up_source = self._ancestors(target), self._ancestors(source)
        common = next((f for f in up_source if f in up_target), None)
        if common is None:
            raise VprError(
                f"TF does not connect {target} with {source}; a link between {up_target[-1]} and "
                f"{up_source[-1]} is missing"
            )
        T_common_target = self._down(up_target[: up_target.index(common)], stamp_ns)
        T_common_source = self._down(up_source[: up_source.index(common)], stamp_ns)
        return invert(T_common_target) @ T_common_source

    def edge_stamps(self, target: str, source: str) -> np.ndarray:
        """Sorted stamps (N,) int64 of the moving link with the most samples between two connected frames."""
        up_target, up_source = self._ancestors(target.lstrip("/")), self._ancestors(source.lstrip("/"))
        between = set(up_target) ^ set(up_source)
        stamps = [self._trajectory(f).stamps_ns for f in sorted(between) if f in self._samples]
        return max(stamps, key=len, default=np.empty(0, np.int64))

    def _ancestors(self, frame: str) -> list[str]:
        chain = [frame]
        while chain[-1] in self._parent:
            parent = self._parent[chain[-1]]
            if parent in chain:
                raise VprError(f"TF links run in a circle: {' -> '.join([*chain, parent])}; two publishers disagree")
            chain.append(parent)
        return chain

    def _down(self, chain: list[str], stamp_ns: int | None) -> np.ndarray:
        T = np.eye(4)
        for child in chain:
            T = self._link(child, stamp_ns) @ T
        return T

    def _link(self, child: str, stamp_ns: int | None) -> np.ndarray:
        if child in self._static:
            return self._static[child]
        parent = self._parent[child]
        if stamp_ns is None:
            raise VprError(f"TF link {parent} -> {child} moves; a stamp is needed to ask for it")
        T = self._trajectory(child).at(stamp_ns, self.max_gap_s)
        if T is None:
            raise VprError(f"TF link {parent} -> {child} is not known at {stamp_ns * 1e-9:.3f} s")
        return T

    def _trajectory(self, child: str) -> Trajectory:
        if child not in self._moving:
            stamps, values = self._samples[child]
            rows = np.array(values).reshape(-1, 7)
            poses = np.array([make_transform(row[:3], row[3:]) for row in rows])
            self._moving[child] = Trajectory(np.array(stamps, np.int64), poses)
        return self._moving[child]


def known_list(frames) -> list[str]:
    """Up to 20 frame names, sorted, for a sentence."""
    names = sorted(frames)
    return ["no frames"] if not names else names[:20] + (["..."] if len(names) > 20 else [])
