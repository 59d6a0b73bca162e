"""Output paths: never overwritten unasked; a new output is whole or not there, or it stays as far as it came."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vpr_ros.atomic import held, in_use, is_draft, whole_entry, write_whole
from vpr_ros.errors import VprError

# Each folder that we write has one of them.
MARK = "unfinished.txt"  # of a command that has not ended, or was killed
OUTPUT_FILES = (MARK, "run.json", "demo.json", "eval.json", "metadata.yaml", "meta.json", "loops.json")


@contextmanager
def fresh(path: Path, force: bool) -> Iterator[Path]:
    """A path to write an output to, which gets the name `path` when the block ends well; until then nothing changes.

    An existing output is an error unless `force` is set. Raises VprError where the output cannot be written.
    """
    _require_free(path, force, "")
    draft = path
    try:
        with whole_entry(path) as draft:
            yield draft
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(str(interrupt) or f"{_state(path)}; run it again for a whole one") from None
    except VprError as error:
        raise VprError(str(error).replace(str(draft), str(path))) from error
    except OSError as error:
        raise _unwritable(path, error) from None


@contextmanager
def growing(path: Path, force: bool, keep: str, advice: str = "") -> Iterator[Path]:
    """A folder for an output that grows: once it has the file `keep`, with content, it stays however the block ends.

    A folder that holds less is removed when the block raises. Until the block ends it has a mark, by which the next
    command says what is there, with `advice`. An existing output is an error unless `force` is set; it is then set
    aside, and removed when the block ends, or brought back when the folder goes. Raises VprError where the output
    cannot be written.
    """
    former = path.with_name(f".{path.name}.former")
    try:
        if former.exists() and not path.exists():  # killed between setting aside and beginning
            former.rename(path)
        _require_free(path, force, advice)
        _set_aside(path, former)
        path.mkdir(parents=True, exist_ok=True)
        mark = path / MARK
        write_whole(mark, "The command that writes this folder has not ended: it runs, failed or was killed.\n")
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with held(mark):
            yield path
        mark.unlink(missing_ok=True)
        _remove(former)
    except BaseException as error:
        kept = path / keep
        if not kept.exists() or not kept.stat().st_size:
            _remove(path)
            if former.exists():
                former.rename(path)
            if isinstance(error, OSError):
                raise _unwritable(path, error) from None
            raise
        said = f"what was made until then stands in '{path}'"
        said += f", the former one in '{former}'" if former.exists() else ""
        said += f"; {advice}" if advice else ""
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(str(error) or said) from None
        if isinstance(error, VprError | OSError):
            text = str(error) if isinstance(error, VprError) else str(_unwritable(path, error))
            raise VprError(f"{text.rstrip('.')}; {said}") from error
        raise


def _require_free(path: Path, force: bool, advice: str) -> None:
    """VprError where something is at the path that may not be replaced."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    unfinished = path / MARK
    if unfinished.exists() and in_use(unfinished):
        raise VprError(f"'{path}' is being written by another process: wait for it, or choose another name.")
    if not force and unfinished.exists():
        said = f"; {advice}" if advice else ""
        raise VprError(
            f"'{path}' is what an earlier command left that failed or was killed. It has {_inventory(path)}{said}; "
            "choose another name, or add --force to begin again."
        )
    if not force:
        raise VprError(f"'{path}' exists already: choose another name, or add --force to replace it.")
    # A mistake such as `-o ~ --force` must not delete a folder that vpr_ros did not write.
    if path.is_dir() and not _is_output(path):
        raise VprError(f"'{path}' was not written by vpr_ros, so --force leaves it alone: choose another name.")


def _set_aside(path: Path, former: Path) -> None:
    """Move what is at the path out of the way; what an earlier killed command had set aside is the one to keep."""
    if former.exists() and (path / MARK).exists():
        _remove(path)
        return
    _remove(former)
    if path.exists() and (path.is_file() or any(path.iterdir())):
        path.rename(former)


def _inventory(folder: Path) -> str:
    """What is in a folder, with the number of lines of those files that grow line by line."""
    told: list[str] = []
    for entry in sorted(folder.iterdir()):
        if entry.suffix == ".jsonl":
            told.append(f"{entry.name} ({entry.read_bytes().count(bytes([10]))} lines)")
        elif entry.name != MARK and not is_draft(entry.name):
            told.append(entry.name)
    return ", ".join(told) or "nothing"


def _is_output(folder: Path) -> bool:
    """Whether a folder holds an output of vpr_ros, or only the drafts of a killed run."""
    names = [entry.name for entry in folder.iterdir()]
    return any(name in OUTPUT_FILES for name in names) or all(map(is_draft, names))


def _state(path: Path) -> str:
    return f"'{path}' is as it was" if path.exists() else f"'{path}' was not made"


def _unwritable(path: Path, error: OSError) -> VprError:
    return VprError(f"cannot write '{error.filename or path}': {error.strerror or error}.")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
