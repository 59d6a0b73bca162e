"""A run's folder: the run writes its configuration first; a folder of another configuration is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from vpr_ros.atomic import is_draft, write_whole
from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_json
from vpr_ros.training.common.yaml_config import RunConfig, read_stored

CONFIG_FILE = "config.json"
LAST, BEST = "last.ckpt", "best.ckpt"  # the states after the last complete epoch and after the best one


def open_run_folder(out: Path, config: RunConfig, resume: bool) -> dict:
    """Write the effective configuration and return it as plain values.

    VprError for a folder that holds weights of a run of another configuration; the configuration of a run that ended
    before its first epoch, for example because of a misspelt file, may change, and so may the class's `AFTERWARDS`.
    Keys that a stored configuration lacks count as defaults. Without `resume` the folder's checkpoints are removed: the
    next resume would continue from them. Incomplete files of a killed run are removed in any case.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VprError(f"the run's folder {out} cannot be made: {error.strerror}") from None
    _remove_drafts(out)
    written, effective = out / CONFIG_FILE, _plain(config)
    if not resume:
        for checkpoint in out.glob("*.ckpt"):
            checkpoint.unlink()
    elif written.exists():
        stored, begun = _read_plain(written, type(config)), _has_weights(out)
        if stored is None or (begun and _of_training(stored, config) != _of_training(effective, config)):
            raise VprError(f"{out} holds a run of another configuration; choose another folder or remove it")
        if not begun:
            (out / BEST).unlink(missing_ok=True)  # of before the first step
    write_whole(written, json.dumps(effective, indent=1), durable=False)
    return effective


def _remove_drafts(out: Path) -> None:
    """Remove incomplete files of a killed run except the configuration's: every process of a run opens its folder, and
    another one may be writing the configuration at this moment."""
    for path in out.iterdir():
        if is_draft(path.name) and not path.name.startswith(f".{CONFIG_FILE}."):
            path.unlink(missing_ok=True)


def _plain(config: Any) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _read_plain(path: Path, cls: type[RunConfig]) -> dict | None:
    """The configuration of a folder as plain values; None where the file is not a configuration of this kind."""
    try:
        raw = parse_json(path.read_text(encoding="utf-8"))
        return _plain(read_stored(cls, raw, str(path))) if raw else None
    except (OSError, ValueError, VprError):
        return None


def _has_weights(out: Path) -> bool:
    """Whether an epoch was complete; the best weights may be those before the first."""
    return (out / LAST).exists() or any(path.suffix == ".safetensors" for path in out.iterdir())


def _of_training(plain: dict, config: RunConfig) -> dict:
    """The plain values without those settings that do not change the training."""
    left = config.AFTERWARDS
    return {
        group: {key: value for key, value in settings.items() if f"{group}.{key}" not in left}
        if isinstance(settings, dict)
        else settings
        for group, settings in plain.items()
    }


def without_folders(value: Any) -> Any:
    """A configuration with the names of files and folders in place of their paths, which a checkpoint must not hold."""
    if isinstance(value, dict):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(each) for each in value]
    return Path(value).name if isinstance(value, (str, Path)) and len(Path(value).parts) > 1 else value
