"""Whose folder it is: a run writes its configuration first, and another one does not mix with it."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from vpr_ros.errors import VprError

WRITTEN = "config.json"


def claim(out: Path, config: Any, resume: bool) -> dict:
    """Write the effective configuration (a dataclass of defaults) and return it as JSON has it.

    VprError for a folder that holds weights of a run of another configuration; one that ended before its first epoch,
    as with a misspelt file, may be corrected. Keys that a stored configuration lacks have had their defaults. Without
    `resume` the epochs that lie in the folder are removed, or the next resume would go on with them.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VprError(f"the run's folder {out} cannot be made: {error.strerror}") from None
    written, effective, defaults = out / WRITTEN, _plain(config), _plain(type(config)())
    if not resume:
        for kept in out.glob("*.ckpt"):
            kept.unlink()
    elif written.exists():
        stored = _read(written)
        ours = bool(stored) and stored.keys() <= defaults.keys()
        if not ours or (defaults | stored != effective and _has_weights(out)):
            raise VprError(f"{out} holds a run of another configuration; choose another folder or remove it")
    partial = out / f".config.{os.getpid()}.json"
    partial.write_text(json.dumps(effective, indent=1))
    os.replace(partial, written)
    return effective


def _plain(config: Any) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _read(path: Path) -> dict:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _has_weights(out: Path) -> bool:
    return any(path.suffix in (".ckpt", ".safetensors") for path in out.iterdir())


def without_places(told: Any) -> Any:
    """A configuration with files and folders by their bare names: where they lay is nobody's business."""
    if isinstance(told, dict):
        return {key: without_places(value) for key, value in told.items()}
    if isinstance(told, (list, tuple)):
        return [without_places(value) for value in told]
    return Path(told).name if isinstance(told, (str, Path)) and len(Path(told).parts) > 1 else told
