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
        chains = self._chains(target.lstrip("/"), source.lstrip("/"))
        moving = [child for chain in chains for child in chain if child not in self._static]
        if moving and stamp_ns is None:
            raise VprError(f"TF link {self._parent[moving[0]]} -> {moving[0]} moves; a stamp is needed to ask for it")
        stamp = stamp_ns or 0
        T, covered = self._composed(*chains, np.array([stamp]))
        if covered[0]:
            return T[0]
        child = next(c for c in moving if self._trajectory(c).at(stamp, self.max_gap_s) is None)
        raise VprError(f"TF link {self._parent[child]} -> {child} is not known at {stamp * 1e-9:.3f} s")

    def lookup_many(self, target: str, source: str, stamps_ns) -> tuple[np.ndarray, np.ndarray]:
        """T_target_source (M, 4, 4) at stamps (M,) and where all links are known (M,) bool; NaN elsewhere.

        Raises VprError naming the frames that are missing or not connected.
        """
        chains = self._chains(target.lstrip("/"), source.lstrip("/"))
        return self._composed(*chains, np.asarray(stamps_ns, np.int64))

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

    def _chains(self, target: str, source: str) -> tuple[list[str], list[str]]:
        """The links from the nearest common frame down to the target and to the source, by child, lowest first."""
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
        return up_target[: up_target.index(common)], up_source[: up_source.index(common)]

    def _composed(
        self, to_target: list[str], to_source: list[str], stamps_ns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        covered = np.ones(len(stamps_ns), bool)

        def down(chain: list[str]) -> np.ndarray:
            T = np.tile(np.eye(4), (len(stamps_ns), 1, 1))
            for child in chain:
                if child in self._static:
                    T = self._static[child] @ T
                    continue
                link, known = self._trajectory(child).at_many(stamps_ns, self.max_gap_s)
                T = link @ T
                covered[~known] = False
            return T

        T = invert(down(to_target)) @ down(to_source)
        T[~covered] = np.nan
        return T, covered

    def _trajectory(self, child: str) -> Trajectory:
        if child not in self._moving:
            stamps, values = self._samples[child]
            rows = np.array(values).reshape(-1, 7)
            self._moving[child] = Trajectory(np.array(stamps, np.int64), make_transform(rows[:, :3], rows[:, 3:]))
        return self._moving[child]


def known_list(frames) -> list[str]:
    """Up to 20 frame names, sorted, for a sentence."""
    names = sorted(frames)
    return ["no frames"] if not names else names[:20] + (["..."] if len(names) > 20 else [])
