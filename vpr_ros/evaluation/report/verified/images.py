"""Pictures that several parts of a page need, looked for together."""

from collections.abc import Callable, Mapping, Sequence

from vpr_ros.evaluation.report.shots import ImageLike

Find = Callable[[Sequence[int]], Mapping[int, ImageLike]]


def asked_once(find: Find | None, also: Sequence[int]) -> Find | None:
    """The same pictures by stamp, those of `also` fetched at the first call: a bag is read once for all of them."""
    if find is None:
        return None
    asked: set[int] = set()
    found: dict[int, ImageLike] = {}

    def look(stamps: Sequence[int]) -> Mapping[int, ImageLike]:
        wanted = [s for s in dict.fromkeys([*stamps, *also]) if s not in asked]
        if wanted:
            asked.update(wanted)
            found.update(find(wanted))
        return found

    return look
