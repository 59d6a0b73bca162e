"""How the long parts of an adaptation tell how far they are."""

from collections.abc import Callable
from contextlib import AbstractContextManager

# label and total (None: not known yet) -> within it a function of how much is done, and of the total where that changes
Stage = Callable[[str, int | None], AbstractContextManager[Callable[..., None]]]
