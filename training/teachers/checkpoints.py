"""Teacher checkpoints: our format, with the options of the network, and strict import of published ones."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_json
from vpr_ros.tensor_files import check_entries, fill, read_tensors, without_shared_prefix, write_tensors
from vpr_ros.training.teachers.published_layouts import Layout
from vpr_ros.training.teachers.teacher import Teacher

FORMAT = "vpr_ros.teacher"
SCHEMA = 1
log = logging.getLogger(__name__)


def save_teacher(path: str | Path, model: Teacher, provenance: dict[str, Any] | None = None) -> None:
    """Write the weights, the teacher's name and its options; VprError when it cannot be written.

    `provenance`: plain values on the origin of the weights.
    """
    if model.made_as is None:
        raise VprError("only a teacher made by load_teacher() can be saved: its name and options go with its weights.")
    name, options = model.made_as
    metadata = {
        "format": FORMAT,
        "schema": str(SCHEMA),
        "teacher": name,
        "options": json.dumps(options),
        "provenance": json.dumps(provenance or {}),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_tensors(path, tensors, metadata)


def read_teacher(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Entries of a checkpoint without a prefix that all share; for our format `teacher`, `options` and `provenance`."""
    state, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        if "format" in metadata and "schema" in metadata:
            raise VprError(f"{path} is a {metadata['format']} checkpoint, not one of a teacher.")
        return without_shared_prefix(state), None
    try:
        if int(metadata["schema"]) > SCHEMA:
            raise VprError(
                f"the checkpoint {path} is of a newer vpr_ros (schema {metadata['schema']}): update to read it."
            )
        ours = {key: parse_json(metadata[key]) for key in ("options", "provenance")}
        ours["teacher"] = metadata["teacher"]
    except (KeyError, ValueError) as error:
        raise VprError(f"the checkpoint {path} lacks or garbles part of its description ({error}).") from error
    return state, ours


def fill_published(model: Teacher, state: dict[str, Tensor], layout: Layout, path: str | Path, name: str) -> None:
    """Load a published state dictionary strictly; errors name the entries as in the file."""
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if layout.unused is not None:
        used = {key: value for key, value in state.items() if not re.match(layout.unused, key)}
        if len(used) < len(state):
            log.info("%s: %d entries of parts that are never used are left out.", path, len(state) - len(used))
        state = used
    state = layout.harmonise(state, own)
    expected = {entry: shape for key in own for entry, shape in layout.published_shapes(key, own[key]).items()}
    check_entries(expected, state, path, f"teacher '{name}'")
    fill(model, layout.convert(state, own), path, f"teacher '{name}'")
