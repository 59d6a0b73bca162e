"""A few retrieved keyframes are matched with the query, within a budget of time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.local_features.features import LocalFeatures
from vpr_ros.recognition.evidence import Retrieval
from vpr_ros.recognition.local.readings import Counts, choose_candidates, local_readings

KEPT = 256  # keyframes whose features stay in memory
Event = Literal["matched", "resting", "over budget", "unreadable"]


class LocalEvidence:
    """Matches queries with keyframes of a map, all of one kind of local features.

    `keyframe` reads the features of one by its id, None where it has none.

    `most` candidates are matched for one query, and no further one once `budget_s` seconds are over (None: no limit).
    `tell` gets what became of a frame, and a sentence where something was left out.
    """

    def __init__(
        self,
        kind: str,
        keyframe: Callable[[int], LocalFeatures | None],
        most: int,
        budget_s: float | None = None,
        tell: Callable[[Event, str], None] = lambda event, sentence: None,
    ):
        self.kind = kind
        self._read, self.most, self.budget_s, self._tell = keyframe, most, budget_s, tell
        self._known: OrderedDict[int, LocalFeatures | None] = OrderedDict()

    def weigh(
        self, retrieval: Retrieval, ids: np.ndarray, order: np.ndarray, query: Callable[[], LocalFeatures | None]
    ) -> Retrieval:
        """The retrieval with local readings of its keyframes with these ids (k,), candidates in this `order` (k,).

        It comes back as it is where the query or all the candidates have no features. `query` makes them, within the
        same budget.
        """
        started = time.perf_counter()
        rows = choose_candidates(order, retrieval.distinct, self.most)
        asked = query()
        matched: list[int] = []
        found: list[Counts] = []
        for number, row in enumerate(rows.tolist() if asked is not None else []):
            if matched and self.budget_s is not None and time.perf_counter() - started > self.budget_s:
                share = f"{number} of {len(rows)} candidates were matched"
                self._tell("over budget", f"local features: {share} within {self.budget_s:g} s")
                break
            keyframe = self._keyframe(int(ids[row]))
            if asked is not None and keyframe is not None:
                matched.append(row)
                found.append(Counts.of(asked, [keyframe]))
        if not matched:
            return retrieval
        self._tell("matched", "")
        readings = local_readings(Counts.together(found), np.array(matched), retrieval.distinct)
        return replace(retrieval, local=readings)

    def rest(self) -> None:
        """A frame of a sure track is not matched."""
        self._tell("resting", "")

    def _keyframe(self, keyframe_id: int) -> LocalFeatures | None:
        if keyframe_id in self._known:
            self._known.move_to_end(keyframe_id)
            return self._known[keyframe_id]
        try:
            found = self._read(keyframe_id)
        except VprError as error:  # of a damaged page: the others can be compared
            found = None
            self._tell("unreadable", str(error))
        self._known[keyframe_id] = found
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return found
