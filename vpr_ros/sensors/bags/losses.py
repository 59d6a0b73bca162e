"""What is done about recordings that are not whole: they are read as far as they are, and it is said; or refused."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from vpr_ros.errors import VprError

MOST_TOLD = 4  # of the losses of one bag; `Bag.losses` holds all


@dataclass(frozen=True)
class LossPolicy:
    """`strict` refuses a bag that is not whole; else `tell` is given a sentence about what is missing."""

    strict: bool = False
    tell: Callable[[str], None] = logging.getLogger(__name__).warning


_READ = LossPolicy()
_POLICY: ContextVar[LossPolicy] = ContextVar("bag_loss_policy", default=_READ)


@contextmanager
def reading_bags(strict: bool = False, tell: Callable[[str], None] = LossPolicy.tell) -> Iterator[None]:
    """Bags that are opened inside are refused when they are not whole, or what they lack is told to `tell`."""
    token = _POLICY.set(LossPolicy(strict, tell))
    try:
        yield
    finally:
        _POLICY.reset(token)


class Losses:
    """Gathers what one bag lacks, and says or refuses it as the policy of its opening wants."""

    def __init__(self):
        self._policy = _POLICY.get()
        self.sentences: list[str] = []

    @property
    def strict(self) -> bool:
        """Whether a bag that is not whole is refused."""
        return self._policy.strict

    def lost(self, sentence: str) -> None:
        """Something is missing. Raises VprError where the policy is strict; the same sentence counts once."""
        if self._policy.strict:
            raise VprError(f"{sentence}; without --strict it is read as far as it is whole")
        if sentence in self.sentences:
            return
        self.sentences.append(sentence)
        if len(self.sentences) <= MOST_TOLD:
            self._policy.tell(sentence)
        elif len(self.sentences) == MOST_TOLD + 1:
            self._policy.tell("and further pieces of this bag are missing")

    def note(self, sentence: str) -> None:
        """Something is worth knowing, and nothing is missing."""
        self._policy.tell(sentence)
