"""The journal of a conversion: which parts of a bag are finished, and the metadata.yaml that completes it."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from vpr_ros.atomic import is_draft, move_whole, write_whole
from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_json

NAME, FORMAT, VERSION = "conversion.jsonl", "vpr_ros conversion", 1
_WORK = ".part"  # folder of the part that is being written


class Journal:
    """A bag folder while it is being written; a context manager that holds the folder's lock.

    `conversion.jsonl` holds the identity in its first line and one line for each finished part, written after the
    part's file has its final name and is on the disk. A torn last line and a part whose file is missing or has another
    size are ignored. With `anew` an existing bag, finished or not, is removed first.
    """

    def __init__(self, folder: Path, identity: dict, anew: bool = False):
        self.folder, self.workspace, self._anew = folder, folder / _WORK, anew
        self._identity = json.loads(json.dumps(identity))
        self._file: Any = None

    def __enter__(self) -> "Journal":
        metadata, journal = self.folder / "metadata.yaml", self.folder / NAME
        try:
            if self._anew and (metadata.is_file() or journal.is_file()):
                self._lock()
                shutil.rmtree(self.folder)
                self._release()
            if metadata.exists():
                journal.unlink(missing_ok=True)  # left by a process that was killed just before its end
                raise VprError(f"{self.folder} is a complete bag already; name another folder or delete it")
            self.folder.mkdir(parents=True, exist_ok=True)
            foreign = sorted({p.name for p in self.folder.iterdir()} - {NAME, _WORK})
            if foreign and not (self.folder / NAME).exists():
                raise VprError(f"{self.folder} holds other files ({foreign[0]}); name a new or empty folder")
            self._lock()
            self._lines = self._read()
            shutil.rmtree(self.workspace, ignore_errors=True)
            for entry in self.folder.iterdir():
                if is_draft(entry.name) and entry.is_file():  # left by a process that was killed just before its end
                    entry.unlink()
            self.workspace.mkdir()
            if not self._lines:
                self._append({"format": FORMAT, "version": VERSION, "identity": self._identity})
        except VprError:
            self._release()
            raise
        except OSError as error:
            self._release()
            raise self._unwritable(error) from None
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.workspace, ignore_errors=True)
        self._release()

    def finished(self) -> dict[int, dict]:
        """Records of the parts whose files are whole, by part number."""
        done = {}
        for record in self._lines[1:]:
            file = self.folder / record["file"]
            if file.is_file() and file.stat().st_size == record["bytes"]:
                done[record["part"]] = record
        return done

    def add(self, part: int, written: Path, skipped: dict[str, int], errors: dict[str, str]) -> dict:
        """Adopt the closed bag folder `written` of one part: move its file to its final place, then append its line."""
        import yaml

        metadata = yaml.safe_load((written / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        source = written / metadata["relative_file_paths"][0]
        record = {
            "part": part,
            "file": source.name,
            "bytes": source.stat().st_size,
            "metadata": metadata,
            "skipped": dict(skipped),
            "first_errors": dict(errors),
        }
        move_whole(source, self.folder / source.name)
        self._append(record)
        shutil.rmtree(written)
        return record

    def complete(self, records: list[dict]) -> None:
        """Write metadata.yaml over all parts, then remove the journal."""
        import yaml

        text = yaml.safe_dump({"rosbag2_bagfile_information": bag_metadata(records)}, sort_keys=False)
        write_whole(self.folder / "metadata.yaml", text, explain=self._unwritable)
        (self.folder / NAME).unlink()

    def _unwritable(self, error: OSError) -> VprError:
        return VprError(
            f"bag folder {self.folder} cannot be written ({error.strerror}); check its rights and the space on the disk"
        )

    def _read(self) -> list[dict]:
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(self._file.fileno(), len(whole))
        try:
            lines = [parse_json(line) for line in whole.splitlines()]
            known = not lines or (lines[0]["format"] == FORMAT and lines[0]["version"] == VERSION)
        except (ValueError, KeyError, TypeError):
            known, lines = False, []
        if not known:
            raise VprError(f"{self.folder / NAME} is damaged or of another version; delete the folder, convert again")
        if lines and lines[0]["identity"] != self._identity:
            begun = lines[0]["identity"]
            other = [k for k in sorted({*begun, *self._identity}) if begun.get(k) != self._identity.get(k)]
            raise VprError(
                f"{self.folder} was begun from other input ({_differences(begun, self._identity, other)}); "
                "delete it or name another folder"
            )
        return lines

    def _append(self, line: dict) -> None:
        # After a kill the line may be incomplete: the next opening removes an incomplete line.
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._lines.append(line)

    def _lock(self) -> None:
        self._file = open(self.folder / NAME, "a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VprError(
                f"{self.folder} is being written by another program; wait for it or name another folder"
            ) from None

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()  # closing releases the lock
        self._file = None


def bag_metadata(records: list[dict]) -> dict:
    """rosbag2's description (version 8) of a bag of several files, from each file's own."""
    topics: dict[tuple[str, str], dict] = {}
    files = []
    for record in records:
        part = record["metadata"]
        files += part["files"]
        for topic in part["topics_with_message_count"]:
            about = topic["topic_metadata"]
            entry = topics.setdefault((about["name"], about["type"]), {"topic_metadata": about, "message_count": 0})
            entry["message_count"] += topic["message_count"]
    stamped = [f for f in files if f["message_count"]] or files
    start = min(f["starting_time"]["nanoseconds_since_epoch"] for f in stamped)
    end = max(f["starting_time"]["nanoseconds_since_epoch"] + f["duration"]["nanoseconds"] for f in stamped)
    return {
        **records[0]["metadata"],
        "relative_file_paths": [f["path"] for f in files],
        "duration": {"nanoseconds": end - start},
        "starting_time": {"nanoseconds_since_epoch": start},
        "message_count": sum(f["message_count"] for f in files),
        "topics_with_message_count": list(topics.values()),
        "files": files,
    }


def _differences(old: dict, new: dict, keys: list[str]) -> str:
    differences = []
    for key in keys:
        if key == "table":
            differences.append("the readings in the folder changed")
        else:
            differences.append(f"{key} was {json.dumps(old.get(key))}, now {json.dumps(new.get(key))}")
    return "; ".join(differences)
