"""The result of a run against its start, on the validation set, as a robot runs both."""

from collections.abc import Callable

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.training.evaluation.retrieval import STRETCH_M, Difference
from vpr_ros.training.student.validation.start import Start, Validation


def recalls_of_run(validation: Validation, start: Start | None, right: np.ndarray) -> dict[str, dict[str, float]]:
    """What the provenance says: recalls by condition of the result, which answers `right` (Q,), the start and the
    teacher."""
    recalls = validation.queries.recalls
    told = {"result": recalls(right)}
    if start is None:
        return told
    told |= {"start": recalls(start.run)}
    if start.projected:
        told["start without projection"] = recalls(start.raw)
    return told | ({"teacher": start.teacher} if start.teacher else {})


def compare(
    validation: Validation, right: np.ndarray, start: np.ndarray, tell: Callable[[str], None], refusal: str = ""
) -> None:
    """Say how much more or less of the queries the result answers right (Q,) than the start (Q,).

    With a `refusal`, what becomes of the result otherwise, a result that is worse is a VprError.
    """
    sentence = comparison(
        f"the trained student recognises {{:.3f}} of {validation.called}'s queries, the start {{:.3f}}",
        *(right, start, validation.queries.difference(right, start), STRETCH_M),
    )
    if refusal and right.sum() < start.sum():
        raise VprError(f"{sentence}: {refusal}")
    tell(sentence)


def comparison(
    sentence: str, right: np.ndarray, start: np.ndarray, difference: Difference | None, stretch_m: float
) -> str:
    """A sentence with the recalls of the result and of the start (Q,) in its two places, and their difference."""
    told = sentence.format(right.mean(), start.mean())
    if difference is None:
        return told
    return (
        f"{told} ({difference.mean:+.3f}, 95 % interval [{difference.low:+.3f}, {difference.high:+.3f}] over "
        f"{difference.stretches} stretches of {stretch_m:.0f} m)"
    )
