"""Published pickles (splits, image indices) read as plain data: nothing inside the file is ever imported or called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.plain_pickles import RefusedError, load_plain


@dataclass
class TrainingTuple:
    """One element of a training split in MinkLoc's form, as plain data."""

    id: int
    timestamp: int
    rel_scan_filepath: str
    positives: np.ndarray  # (P,) ids, sorted
    non_negatives: np.ndarray  # (M,) ids, sorted: everything near, itself included
    position: np.ndarray  # (2,) northing, easting


def read_pickle(path: str | Path) -> Any:
    """What a pickle holds, as dict, list, tuple, str, int, float, numeric arrays and TrainingTuple.

    Raises VprError for a file that is missing, torn, not a pickle, or imports anything else.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            return load_plain(stream, {"TrainingTuple": _training_tuple})
    except OSError as error:
        raise VprError(f"{path} cannot be read ({error.strerror}); put the published pickle there") from None
    except RefusedError as refused:
        raise VprError(
            f"{path} asks for {refused}, which plain data does not need, and was not read further; take "
            "the file from its publisher, or build the split from the data"
        ) from None
    except RecursionError:
        raise VprError(f"{path} is nested too deeply to be a split; take the file from its publisher") from None
    except Exception as error:  # an unpickler raises any kind of exception for torn bytes
        raise VprError(f"{path} is torn or no pickle ({type(error).__name__}); fetch it again") from None


def _training_tuple(fields: dict[str, Any]) -> TrainingTuple:
    if set(TrainingTuple.__dataclass_fields__) - set(fields):
        raise RefusedError("a TrainingTuple without its fields")
    near = [np.asarray(fields[name], np.int64).reshape(-1) for name in ("positives", "non_negatives")]
    position = np.asarray(fields["position"], np.float64).reshape(-1)
    return TrainingTuple(
        int(fields["id"]), int(fields["timestamp"]), str(fields["rel_scan_filepath"]), near[0], near[1], position
    )
