"""A few retrieved keyframes are matched with the query, within a budget of time."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from statistics import median_low
from typing import Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.local_features.features import LocalFeatures
from vpr_ros.recognition.evidence import Retrieval
from vpr_ros.recognition.local.readings import Counts, choose_candidates, local_readings

KEPT = 256  # keyframes whose features stay in memory
TRIED_AGAIN = 40  # frames that go without before the next attempt, where a picture's features alone exceed the budget
_LAST = 5  # attempts of which the middle one says how long the next will take
Event = Literal["matched", "resting", "over budget", "unreadable"]


class LocalEvidence:
    """Matches queries with keyframes of a map, all of one kind of local features.

    `keyframe` reads the features of one by its id, None where it has none.

    `most` candidates are matched for one query, as many as can be expected to fit into `budget_s` seconds (None: no
    limit). `tell` gets what became of a frame, and a sentence where something was left out.
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
        self._making_s: deque[float] = deque(maxlen=_LAST)
        self._match_s, self._left_out = 0.0, 0  # the last candidate's time; frames since the last attempt

    def weigh(
        self, retrieval: Retrieval, ids: np.ndarray, order: np.ndarray, query: Callable[[], LocalFeatures | None]
    ) -> Retrieval:
        """The retrieval with local readings of its keyframes with these ids (k,), candidates in this `order` (k,).

        It comes back as it is where the query or all the candidates have no features. `query` makes them, within the
        same budget.
        """
        if not self._affordable():
            return retrieval
        started = time.perf_counter()
        rows = choose_candidates(order, retrieval.distinct, self.most)
        asked = query()
        begun = time.perf_counter()
        self._making_s.append(begun - started)
        matched: list[int] = []
        found: list[Counts] = []
        for number, row in enumerate(rows.tolist() if asked is not None else []):
            if self.budget_s is not None and begun - started + self._match_s > self.budget_s:
                share = f"{number} of {len(rows)} candidates were matched"
                self._tell("over budget", f"local features: {share} within {self.budget_s:g} s")
                break
            keyframe = self._keyframe(int(ids[row]))
            if asked is not None and keyframe is not None:
                matched.append(row)
                found.append(Counts.of(asked, [keyframe]))
            ended = time.perf_counter()
            self._match_s, begun = ended - begun, ended
        if not matched:
            return retrieval
        self._tell("matched", "")
        readings = local_readings(Counts.together(found), np.array(matched), retrieval.distinct)
        return replace(retrieval, local=readings)

    def rest(self) -> None:
        """A frame of a sure track is not matched."""
        self._tell("resting", "")

    def _affordable(self) -> bool:
        """Whether a picture's features can be made within the budget, by how long the last ones took; told if not."""
        takes_s = median_low(self._making_s) if self._making_s else 0.0
        if self.budget_s is None or takes_s <= self.budget_s:
            return True
        self._left_out += 1
        if self._left_out > TRIED_AGAIN:  # the machine may have more time by now: what follows goes by this attempt
            self._left_out = 0
            self._making_s.clear()
            return True
        slow = f"local features of a picture take {takes_s:.2f} s here, more than local_budget_s ({self.budget_s:g})"
        self._tell("over budget", f"{slow}: raise it, or set local_features to none")
        return False

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
