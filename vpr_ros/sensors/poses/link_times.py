"""When the links of a live TF tree were measured: tf2 interpolates over any gap, a drive must not. ROS-free."""

from bisect import bisect_left, insort
from collections.abc import Callable

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.poses.frame_graph import DisputedFramesError, FrameGraph, Link, two_parents
from vpr_ros.sensors.poses.trajectory import Trajectory
from vpr_ros.sensors.stamps import JUMP_NS


class Links:
    """Parents and stamps of the links of the last `horizon_s` seconds; poses through `lookup`.

    `lookup(target, source, stamp_ns)` gives T_target_source (4, 4), or None where tf2 does not know it. The answers
    are those of TransformTree and tf_track for a bag of the same messages; but a link whose child has another parent,
    too, is never asked for: tf2 mixes the two (`dispute`).
    """

    def __init__(
        self,
        lookup: Callable[[str, str, int], np.ndarray | None],
        arrivals: Arrivals | None = None,
        horizon_s: float = 30.0,
    ):
        self._lookup, self._arrivals, self._horizon_ns = lookup, arrivals or Arrivals(), int(horizon_s * 1e9)
        self._graph = FrameGraph()
        self._stamps: dict[Link, list[int]] = {}  # moving links only

    def jumps_back(self, parent: str, child: str, stamp_ns: int) -> bool:
        """Whether a stamp of a moving link says that its clock was set back."""
        with self._arrivals:
            stamps = self._stamps.get((parent, child))
            return bool(stamps) and stamp_ns < stamps[-1] - JUMP_NS

    def add(self, parent: str, child: str, stamp_ns: int, static: bool) -> None:
        """Take one link; after a jump back the stamps of all links are forgotten."""
        if not parent or not child or parent == child:  # tf2 refuses them, too
            return
        with self._arrivals:
            self._graph.add(parent, child)
            if static:
                self._stamps.pop((parent, child), None)
            else:
                if self.jumps_back(parent, child, stamp_ns):
                    self.forget()
                stamps = self._stamps.setdefault((parent, child), [])
                if not stamps or stamp_ns > stamps[-1]:
                    stamps.append(stamp_ns)
                elif stamps[bisect_left(stamps, stamp_ns)] != stamp_ns:
                    insort(stamps, stamp_ns)
                if stamps[-1] - stamps[0] > self._horizon_ns:
                    del stamps[: bisect_left(stamps, stamps[-1] - self._horizon_ns)]
                self._drop_former_parents(parent, child, stamps[-1])
            self._arrivals.notify()

    def _drop_former_parents(self, parent: str, child: str, newest_ns: int) -> None:
        """A frame may be given to another parent: the links that fell silent are then those of the past."""
        for other in self._graph.disputed.get(child, ()):
            stamps = self._stamps.get((other, child))
            if other != parent and stamps is not None and (not stamps or newest_ns - stamps[-1] > self._horizon_ns):
                self._graph.remove(other, child)
                del self._stamps[other, child]

    def forget(self) -> None:
        """Forget all stamps; fixed links stay."""
        with self._arrivals:
            for stamps in self._stamps.values():
                stamps.clear()

    def forget_after(self, stamp_ns: int) -> bool:
        """Forget all stamps if one lies after a time that is now: they are of a clock that was set back."""
        with self._arrivals:
            stale = any(stamps and stamps[-1] > stamp_ns for stamps in self._stamps.values())
            if stale:
                self.forget()
            return stale

    def fixed(self, target: str, source: str) -> bool:
        """Whether fixed links alone connect two frames."""
        with self._arrivals:
            between = self._between(target, source)
            return between is not None and not any(link in self._stamps for link in between)

    def connected(self, target: str, source: str) -> bool:
        """Whether links connect two frames, at whatever time."""
        with self._arrivals:
            return self._between(target, source) is not None

    def dispute(self, target: str, source: str) -> str | None:
        """A sentence that names the frame with two parents, or the circle, that leaves two frames without an answer."""
        with self._arrivals:
            try:
                steps = self._graph.path(target, source)
            except DisputedFramesError as error:
                return str(error)
            except VprError:
                return None
            disputed = self._graph.disputed
            found = [child for (_, child), _ in steps if child in disputed]
            if not found:
                return None
            return f"{two_parents(found[0], disputed[found[0]])}, which tf2 mixes; let one of them be still"

    def newest_ns(self, target: str, source: str) -> int | None:
        """Stamp up to which all moving links between two frames are known; None where there are none."""
        with self._arrivals:
            chains = self._moving(target, source)
            return min(stamps[-1] for stamps in chains) if chains else None

    def reached(self, target: str, source: str, stamp_ns: int) -> bool:
        """Whether waiting longer brings no better answer for a stamp: it is covered, or not a matter of time."""
        with self._arrivals:
            chains = self._moving(target, source)
            if not chains:
                return False
            fastest = min(chains, key=_spacing)
            if len(fastest) < 2:
                return False
            after = bisect_left(fastest, stamp_ns)
            return after < len(fastest) and all(stamps[-1] >= fastest[after] for stamps in chains)

    def at(self, target: str, source: str, stamp_ns: int, max_gap_s: float) -> np.ndarray | None:
        """T_target_source (4, 4) between the samples of the fastest link where all links are known, else None.

        Interpolated between samples at most `max_gap_s` apart, never extrapolated.
        """
        gap_ns = max_gap_s * 1e9
        with self._arrivals:
            chains = self._moving(target, source)
            if not chains:
                return None
            fastest = min(chains, key=_spacing)
            after = bisect_left(fastest, stamp_ns)

            def known(s):
                return all(_covers(stamps, s, gap_ns) for stamps in chains)

            after_ns = next((s for s in fastest[after:] if s - stamp_ns > gap_ns or known(s)), None)
            before_ns = next((s for s in reversed(fastest[:after]) if stamp_ns - s > gap_ns or known(s)), None)
        if after_ns == stamp_ns:
            return self._lookup(target, source, stamp_ns)
        if after_ns is None or before_ns is None or after_ns - before_ns > gap_ns:
            return None
        T_before, T_after = self._lookup(target, source, before_ns), self._lookup(target, source, after_ns)
        if T_before is None or T_after is None:
            return None
        return Trajectory(np.array([before_ns, after_ns]), np.array([T_before, T_after])).at(stamp_ns, max_gap_s)

    def _moving(self, target: str, source: str) -> list[list[int]]:
        """Stamps of the moving links between two frames; empty where a link is missing, has none or all are fixed."""
        between = self._between(target, source)
        chains = [self._stamps[link] for link in between or () if link in self._stamps]
        return chains if all(chains) else []

    def _between(self, target: str, source: str) -> list[Link] | None:
        """The links between two frames; None where they are unknown, not connected, or their links are disputed."""
        if target not in self._graph:
            return None
        try:
            links = [link for link, _ in self._graph.path(target, source)]
        except VprError:
            return None
        disputed = self._graph.disputed
        return None if any(child in disputed for _, child in links) else sorted(links)


def _spacing(stamps: list[int]) -> float:
    """Mean time between the samples of a link; numbers of samples mislead while one link has just begun."""
    return (stamps[-1] - stamps[0]) / (len(stamps) - 1) if len(stamps) > 1 else float("inf")


def _covers(stamps: list[int], stamp_ns: int, gap_ns: float) -> bool:
    """Whether a link is known at a stamp: a sample, or two around it that are near enough."""
    after = bisect_left(stamps, stamp_ns)
    if after < len(stamps) and stamps[after] == stamp_ns:
        return True
    return 0 < after < len(stamps) and stamps[after] - stamps[after - 1] <= gap_ns
