"""What one query's retrieval says, before any filter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.place_map.index import PartedIndex, map_rows, part_similarities
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.statistics import slices
from vpr_ros.place_map.store import PlaceMap
from vpr_ros.place_map.summary import FEWEST_KEYFRAMES
from vpr_ros.recognition.drive_mean import Centring
from vpr_ros.recognition.topology import Topology

BACKGROUND_ROWS = 1024
MIN_SPREAD = 0.01  # a background narrower than this is no measure of anything
ANCHOR_AT = 0.5  # novelty from which on a view is what the next ones are compared with
WIDE_SPREAD = 0.15  # taken where too few keyframes tell it: the careful side


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Candidates of one query, best first, with their features."""

    rows: np.ndarray  # (k,) int64
    similarities: np.ndarray  # (k,) float32
    # (k, 3): similarity, z-score, lead over the best distinct place; (k, 3 + P) of descriptors of several parts, with
    # the z-score of each part
    features: np.ndarray
    novelty: float  # in [0, 1]: how much of the view is new
    distinct: np.ndarray  # (k, k) bool: which pairs are known to be distinct places
    local: np.ndarray | None = None  # (k, KINDS) readings of local features; None where none were compared

    @property
    def evidence(self) -> np.ndarray:
        """All that is weighed of each candidate: its features, then what local features say."""
        return self.features if self.local is None else np.column_stack([self.features, self.local])

    def ranked(self, scores: np.ndarray) -> "Retrieval":
        """The same candidates by their scores (k,), best first."""
        order = np.argsort(-scores, kind="stable")
        rows = {name: getattr(self, name)[order] for name in ("rows", "similarities", "features")}
        local = None if self.local is None else self.local[order]
        return replace(self, **rows, distinct=self.distinct[np.ix_(order, order)], local=local)


def checked(descriptor: np.ndarray, dim: int) -> np.ndarray:
    """The descriptor (dim,) as float32; FrameError for another dimension, and for one not finite or without length."""
    query = np.asarray(descriptor, dtype=np.float32).reshape(-1)
    if query.shape != (dim,):
        raise FrameError(f"a descriptor of {query.size} numbers cannot be compared with a map of {dim}")
    norm = float(np.linalg.norm(query))
    if not np.isfinite(norm) or norm < 1e-6:
        raise FrameError("the descriptor is not finite or zero: the frame is skipped")
    return query


class Background:
    """Descriptors of an evenly spread sample of the map: a query's similarities to them say what is ordinary for it.

    Dusk or snow lower every similarity of a query alike; its own background shows by how much. The sample is redrawn
    each time the map has doubled, so that it depends on the number of keyframes alone and streaming equals offline.
    """

    def __init__(self) -> None:
        self._sample = np.empty((0, 0), dtype=np.float32)
        self._drawn_at = 0

    def refresh(self, index: PartedIndex, now: bool = False) -> None:
        """Takes note of what is searched; redraws `now` or when it has doubled."""
        n = len(index)
        if n and (now or n >= 2 * self._drawn_at):
            rows = np.unique(np.linspace(0, n - 1, min(n, BACKGROUND_ROWS)).astype(np.int64))
            self._sample, self._drawn_at = index.vectors(rows), n

    def level(self, query: np.ndarray) -> tuple[float, float]:
        """Median and robust standard deviation of the query's (dim,) ordinary similarities."""
        return _level(self._sample @ query, 1.0)

    def part_levels(self, query: np.ndarray, parts: tuple[int, ...]) -> np.ndarray:
        """The same of each part (P, 2)."""
        columns = part_similarities(self._sample, query, parts).T
        shares = [float(query[part] @ query[part]) for part in slices(parts)]
        return np.array([_level(column, share) for column, share in zip(columns, shares, strict=True)])


def _level(similarities: np.ndarray, share: float) -> tuple[float, float]:
    """Median and robust standard deviation of similarities that are at most `share`."""
    middle = float(np.median(similarities))
    least = share * (WIDE_SPREAD if len(similarities) < FEWEST_KEYFRAMES else MIN_SPREAD)
    return middle, max(least, 1.4826 * float(np.median(np.abs(similarities - middle))))


def retrieval_features(
    similarities: np.ndarray, distinct: np.ndarray, middle: float, spread: float, whole_map: bool
) -> np.ndarray:
    """Features (k, 3) of retrieved similarities (k,), given which pairs (k, k) are distinct places.

    `whole_map`: nothing of the map was left out of the retrieval.
    """
    rivals = np.where(distinct, similarities[None], -np.inf).max(axis=1)
    # Where all retrieved keyframes are one place, its rivals are below the last of them; in a map that is one place
    # there are none, and leading the field says nothing.
    unrivalled = similarities if whole_map else np.full_like(similarities, min(float(similarities.min()), middle))
    rivals = np.where(np.isfinite(rivals), rivals, unrivalled)
    return np.column_stack([similarities, (similarities - middle) / spread, (similarities - rivals) / spread])


class Novelty:
    """How much of a view has not been seen in the frames before; it scales a frame's evidence.

    A view that resembles an earlier one far more than it resembles any keyframe shares that one's errors and has little
    to add. So distance is (1 - cos(query, anchor)) / (1 - best similarity), and a frame's novelty is how far it exceeds
    what the frames since the anchor have reached. From ANCHOR_AT on the anchor moves up. Jitter of a standing camera
    thus counts once, however long it lasts, and a drive gains as much per metre at 5 Hz as at 30 Hz. Where queries are
    compared without the mean of their drive, so are query and anchor, both without the mean of the present.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next view is all new."""
        self._anchor: np.ndarray | None = None
        self._reached = 0.0

    def update(
        self, query: np.ndarray, best_similarity: float, centre: Callable[[np.ndarray], np.ndarray] = np.asarray
    ) -> float:
        """Novelty in [0, 1] of a unit descriptor (dim,), which `centre` makes fit for comparison."""
        if self._anchor is None:
            self._anchor = query
            return 1.0
        distance = max(0.0, 1.0 - float(centre(query) @ centre(self._anchor))) / max(1.0 - best_similarity, 0.02)
        gain = min(1.0, max(0.0, distance - self._reached))
        self._reached = max(self._reached, distance)
        if distance >= ANCHOR_AT:
            self._anchor, self._reached = query, 0.0
        return gain


def kinds_of_evidence(parts: tuple[int, ...]) -> int:
    """Features of a retrieved keyframe."""
    return 3 + (len(parts) if len(parts) > 1 else 0)


class Searched:
    """The keyframes' descriptors as they are compared: the search index, and the background of a query.

    Row numbers are those of the topology.
    """

    def __init__(self, index: PartedIndex):
        self._index = index
        self._background = Background()
        self._background.refresh(index)
        self.last_query: np.ndarray | None = None  # (dim,) as it was compared

    @classmethod
    def at_start(
        cls, keyframes: Keyframes | None, centring: Centring, exact_mb: float, place_map: PlaceMap | None
    ) -> "Searched":
        """Of the keyframes that are there at the start: all of a map, where that is given.

        Their descriptors of up to `exact_mb` megabytes are held and searched exactly.
        """
        folder = None if place_map is None else place_map.path.parent
        index = PartedIndex(centring.parts, exact_mb=exact_mb, folder=folder)
        if keyframes is None or not len(keyframes):
            return cls(index)
        if place_map is None:
            return cls(index.build(centring.rows(keyframes)))
        made_of_it = "" if centring.drive is None else ":centred"
        if isinstance(keyframes.descriptors, np.ndarray):
            rows = centring.rows(keyframes)
        else:
            rows = map_rows(
                place_map, keyframes.descriptors.shape, lambda out: centring.rows(keyframes, out), made_of_it
            )
        return cls(PartedIndex.of_map(place_map, rows, made_of_it, exact_mb))

    def __len__(self) -> int:
        return len(self._index)

    def add(self, descriptor: np.ndarray) -> None:
        """Appends one keyframe's descriptor (dim,)."""
        self._index.add(descriptor[None])
        self._background.refresh(self._index)

    def replace_last(self, descriptors: np.ndarray) -> None:
        """These are the descriptors (N, dim) of the last N rows from now on."""
        if len(descriptors):
            self._index.replace_from(len(self._index) - len(descriptors), descriptors)
        self._background.refresh(self._index, now=True)

    def similarities(self, query: np.ndarray, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Inner products (M,) of a query (dim,), or (M, Q) of several (dim, Q), with the descriptors of rows (M,)."""
        return self._index.vectors(np.asarray(rows, dtype=np.int64)) @ query

    def retrieve(
        self, query: np.ndarray, topology: Topology, top_k: int, novelty: Callable[[float], float]
    ) -> Retrieval:
        """Searches with a float32 unit descriptor (dim,) and describes what came back.

        `novelty` tells from the best similarity how much of the view is new.
        """
        self.last_query = query
        found = self._index.search(query, top_k)
        rows, similarities = found.rows, found.similarities
        middle, spread = self._background.level(query)
        distinct = topology.distinct(rows, 2 * topology.radius)
        features = retrieval_features(similarities, distinct, middle, spread, whole_map=len(rows) == topology.n)
        if len(self._index.parts) > 1:
            # How far the parts carry differs with season and viewpoint: the whole's z-score has them in fixed shares.
            middles, spreads = self._background.part_levels(query, self._index.parts).T
            features = np.column_stack([features, (found.by_part - middles) / spreads])
        return Retrieval(rows, similarities, features, novelty(float(similarities[0])), distinct)
