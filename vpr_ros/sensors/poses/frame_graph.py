"""Which TF links lead from one frame to another; a frame with two parents is never settled by the order of messages."""

from collections import deque

from vpr_ros.errors import VprError

Link = tuple[str, str]  # parent, child
Step = tuple[Link, bool]  # a link, and whether it is gone through from the parent to the child


class DisputedFramesError(VprError):
    """Two frames are connected in more than one way: two publishers disagree."""


class FrameGraph:
    """Links between frames, each known by its parent and its child. A tree is not assumed: robots send others."""

    def __init__(self):
        self._links: dict[str, set[Link]] = {}  # by either end
        self._parents: dict[str, list[str]] = {}  # by child
        self._disputed: set[str] = set()  # children with more than one parent
        self._paths: dict[tuple[str, str], list[Step] | VprError] = {}

    def __contains__(self, frame: str) -> bool:
        return frame in self._links

    @property
    def frames(self) -> list[str]:
        """All frame names, sorted."""
        return sorted(self._links)

    @property
    def disputed(self) -> dict[str, list[str]]:
        """Frames with more than one parent, and their parents, sorted."""
        return {child: sorted(self._parents[child]) for child in sorted(self._disputed)}

    def add(self, parent: str, child: str) -> None:
        """Take a link; no effect when it is known."""
        if parent in self._parents.get(child, ()):
            return
        self._parents.setdefault(child, []).append(parent)
        if len(self._parents[child]) > 1:
            self._disputed.add(child)
        for frame in (parent, child):
            self._links.setdefault(frame, set()).add((parent, child))
        self._paths.clear()

    def remove(self, parent: str, child: str) -> None:
        """Forget a link; its frames stay known."""
        if parent in self._parents.get(child, ()):
            self._parents[child].remove(parent)
            if len(self._parents[child]) < 2:
                self._disputed.discard(child)
            for frame in (parent, child):
                self._links[frame].discard((parent, child))
            self._paths.clear()

    def path(self, target: str, source: str) -> list[Step]:
        """The links from the target to the source, in this order; none where both are the same frame.

        A way leads up to a frame above both and down again. A link between the two themselves is the answer, whatever
        else connects them. Raises VprError naming the frames that are missing or not connected, DisputedFramesError
        where they are connected in more than one way.
        """
        if (target, source) not in self._paths:
            try:
                self._paths[target, source] = self._only_path(target, source)
            except VprError as error:
                self._paths[target, source] = error
        found = self._paths[target, source]
        if isinstance(found, VprError):
            raise type(found)(str(found))
        return found

    def _only_path(self, target: str, source: str) -> list[Step]:
        if target == source:
            return []
        missing = [f for f in (target, source) if f not in self._links]
        if missing:
            raise VprError(
                f"TF has no frame {' and no frame '.join(missing)}; it has {', '.join(known_list(self._links))}"
            )
        found = self._search(target, source)
        if found is None:
            raise VprError(
                f"TF does not connect {target} with {source}; a link between {self._top(target)} and "
                f"{self._top(source)} is missing"
            )
        if len(found) == 1 and found[0][0][::-1] not in self._links[source]:
            return found
        for link, _ in found:
            other = self._search(target, source, without=link)
            if other is not None:
                raise DisputedFramesError(_two_ways(target, source, {*found, *other}))
        return found

    def _search(self, target: str, source: str, without: Link | None = None) -> list[Step] | None:
        """The shortest way between two known frames, up to a frame above both and down again; None where none is."""
        came: dict[tuple[str, bool], tuple[tuple[str, bool], Step] | None] = {(target, False): None}
        waiting = deque(came)
        while waiting:
            frame, descending = here = waiting.popleft()
            if frame == source:
                return _steps(came, here)
            for link in sorted(self._links[frame]):
                down = frame == link[0]
                there = (link[1] if down else link[0], down)
                if link != without and there not in came and (down or not descending):
                    came[there] = (here, (link, down))
                    waiting.append(there)
        return None

    def _top(self, frame: str) -> str:
        """The frame above all others of a frame's tree; VprError where links run in a circle."""
        chain = [frame]
        while self._parents.get(chain[-1]):
            parent = self._parents[chain[-1]][0]
            if parent in chain:
                raise DisputedFramesError(
                    f"TF links run in a circle: {' -> '.join([*chain, parent])}; two publishers disagree"
                )
            chain.append(parent)
        return chain[-1]


def _steps(came: dict[tuple[str, bool], tuple[tuple[str, bool], Step] | None], here: tuple[str, bool]) -> list[Step]:
    """The steps that led to a place of a search."""
    steps: list[Step] = []
    while (before := came[here]) is not None:
        here, step = before
        steps.append(step)
    return steps[::-1]


def _two_ways(target: str, source: str, steps: set[Step]) -> str:
    """The sentence on frames that are connected in more than one way by these links."""
    parents: dict[str, set[str]] = {}
    for (parent, child), _ in steps:
        parents.setdefault(child, set()).add(parent)
    disputed = [two_parents(child, sorted(found)) for child, found in sorted(parents.items()) if len(found) > 1]
    if not disputed:
        return f"TF links run in a circle through {', '.join(sorted(parents))}; two publishers disagree"
    return (
        f"{'; '.join(disputed)}: there is more than one way from {target} to {source}, and two publishers disagree; "
        "let one of them be still"
    )


def two_parents(child: str, parents: list[str]) -> str:
    """A phrase that names a frame and its parents."""
    return f"TF gives {child} {len(parents)} parents, {', '.join(parents[:-1])} and {parents[-1]}"


def known_list(frames) -> list[str]:
    """Up to 20 frame names, sorted, for a sentence."""
    names = sorted(frames)
    return ["no frames"] if not names else names[:20] + (["..."] if len(names) > 20 else [])
