"""A run's folder: the run writes its configuration first, and a run of another configuration is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from vpr_ros.atomic import is_draft, write_whole
from vpr_ros.errors import VprError
from vpr_ros.training.common.yaml_config import RunConfig, read_stored

WRITTEN = "config.json"


def open_run_folder(out: Path, config: RunConfig, resume: bool) -> dict:
    """Write the effective configuration and return it as plain values.

    VprError for a folder that holds weights of a run of another configuration; one that ended before its first epoch,
    as with a misspelt file, may be corrected. Keys that a stored configuration lacks have had their defaults. Without
    `resume` the epochs that lie in the folder are removed, or the next resume would go on with them. Unfinished files
    of a killed run are removed in any case.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VprError(f"the run's folder {out} cannot be made: {error.strerror}") from None
    _remove_drafts(out)
    written, effective = out / WRITTEN, _plain(config)
    if not resume:
        for kept in out.glob("*.ckpt"):
            kept.unlink()
    elif written.exists():
        stored = _stored(written, type(config))
        if stored is None or (stored != effective and _has_weights(out)):
            raise VprError(f"{out} holds a run of another configuration; choose another folder or remove it")
    write_whole(written, json.dumps(effective, indent=1), durable=False)
    return effective


def _remove_drafts(out: Path) -> None:
    """Remove what a killed run was writing, but for the configuration: all processes of a run open its folder, and
    another one may be writing that now."""
    for path in out.iterdir():
        if is_draft(path.name) and not path.name.startswith(f".{WRITTEN}."):
            path.unlink(missing_ok=True)


def _plain(config: Any) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _stored(path: Path, cls: type[RunConfig]) -> dict | None:
    """The configuration of a folder as plain values; None where it is no configuration of this kind."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return _plain(read_stored(cls, raw, str(path))) if raw else None
    except (OSError, ValueError, VprError):
        return None


def _has_weights(out: Path) -> bool:
    return any(path.suffix in (".ckpt", ".safetensors") for path in out.iterdir())


def without_folders(value: Any) -> Any:
    """A configuration with files and folders by their bare names: paths of a machine do not belong in a checkpoint."""
    if isinstance(value, dict):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(each) for each in value]
    return Path(value).name if isinstance(value, (str, Path)) and len(Path(value).parts) > 1 else value
