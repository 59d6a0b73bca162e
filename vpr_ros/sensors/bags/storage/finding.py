"""Which files make up a bag: by its metadata.yaml, by the endings in its folder, and by how each file begins."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vpr_ros.errors import VprError
from vpr_ros.lfs import refuse_pointer
from vpr_ros.plain_files import parse_yaml
from vpr_ros.sensors.bags.storage.compression import ZSTD_MAGIC
from vpr_ros.sensors.bags.storage.mcap_records import MAGIC as MCAP_MAGIC
from vpr_ros.sensors.picture_files import is_picture_name, lack_of_pictures

Signature = Literal["mcap", "sqlite", "rosbag1", "zstd"]
ROS2_ENDINGS = (".mcap", ".db3")
PACKED_ENDINGS = (".mcap.zstd", ".db3.zstd")
ROS1_ENDINGS = (".bag", ".bag.active")
ENDINGS = ROS2_ENDINGS + PACKED_ENDINGS + ROS1_ENDINGS
_BEGINNINGS: tuple[tuple[bytes, Signature], ...] = (
    (MCAP_MAGIC, "mcap"),
    (b"SQLite format 3\0", "sqlite"),
    (b"#ROSBAG V", "rosbag1"),
    (ZSTD_MAGIC, "zstd"),
)
_PART = re.compile(r"_(\d+)$")  # of a recording that was split
_DATE = re.compile(r"_?\d{4}(-\d\d){5}$")  # that rosbag adds to the name of each part
_GIVE = "give a ROS 1 .bag file, a ROS 2 bag folder, or an .mcap or .db3 file"


@dataclass
class BagFiles:
    """The files of a bag, what is missing of them, and what lies beside them unread."""

    files: list[Path]
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    promised: int = 0  # messages, by metadata.yaml


def files_of(path: Path) -> BagFiles:
    """The files to read. Raises VprError for a path that is no bag."""
    if not path.exists():
        raise VprError(f"bag {path} does not exist; check the path")
    if not path.is_dir():
        if not path.is_file():
            raise VprError(f"{path} is no file and no folder, but a device or a pipe; {_GIVE}")
        return BagFiles([path], notes=_beside(path))
    if (path / "metadata.yaml").exists():
        found = _by_metadata(path)
    else:
        found = BagFiles(
            _without_packed_twins([f for f in visible_files(path) if has_ending(f, ROS2_ENDINGS + PACKED_ENDINGS)])
        )
        if not found.files:
            found.files = _parts_of_ros1(path)
    if not found.files:
        raise VprError(
            f"folder {path} is not a bag, since it has neither metadata.yaml nor an .mcap, .db3 or .bag file; and "
            f"{lack_of_pictures(path)}"
        )
    unread = [f.name for f in visible_files(path) if f.suffix in (".part", ".active") and f not in found.files]
    if unread:
        found.notes.append(f"{path} also holds {', '.join(unread)}, which is unfinished and not read")
    return found


def signature_of(file: Path) -> Signature:
    """What a file is by how it begins. Raises VprError for one that is empty, a Git LFS pointer or no file of a bag."""
    refuse_pointer(file, "bag")
    try:
        with file.open("rb") as opened:
            head = opened.read(64)
    except OSError as error:
        raise VprError(f"bag file {file} cannot be read ({error.strerror}); check its rights") from None
    if not head:
        raise VprError(f"bag file {file} is empty; the recording wrote nothing")
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if has_ending(file, ENDINGS):
        raise VprError(
            f"bag file {file} cannot be read: it does not begin as {'such a file' if any(head) else 'a bag'} does"
            + ("" if any(head) else ", but with zeros; its beginning was lost")
            + f"; {_GIVE}"
        )
    if is_picture_name(file):
        raise VprError(f"{file} is a single picture; give the folder that holds it")
    raise VprError(f"{file} is not a bag; {_GIVE}")


def _by_metadata(path: Path) -> BagFiles:
    """The files that metadata.yaml names, and those that a recorder began after it was last written."""
    there = _without_packed_twins([f for f in visible_files(path) if has_ending(f, ROS2_ENDINGS + PACKED_ENDINGS)])
    try:
        text = (path / "metadata.yaml").read_text(encoding="utf-8")
        facts = parse_yaml(text)["rosbag2_bagfile_information"]
        names, promised = [Path(n).name for n in facts["relative_file_paths"]], int(facts["message_count"])
    except PermissionError:
        raise VprError(f"bag {path} may not be read by this user; check its rights") from None
    except (OSError, ValueError, TypeError, KeyError):
        if not there:
            raise VprError(
                f"bag {path} cannot be read: its metadata.yaml is damaged, and no .mcap or .db3 is there"
            ) from None
        return BagFiles(there, [f"metadata.yaml of bag {path} is damaged; its files are found by their endings"])
    listed = [path / name for name in names]
    # A part whose compression was under way when the recorder died is there uncompressed, as its twin.
    twins = {f: path / f.name.removesuffix(".zstd") for f in listed}
    files = [f if f.exists() else twins[f] for f in listed if f.exists() or twins[f].exists()]
    absent = [f.name for f in listed if not f.exists() and not twins[f].exists()]
    later = [f for f in there if f not in files and any(_follows(f, known) for known in listed)]
    if not files and not later:
        raise VprError(
            f"bag {path} cannot be read: files are missing that its metadata.yaml names: {', '.join(absent)}"
        )
    found = BagFiles(files + later, promised=promised)
    if absent:
        found.missing.append(f"bag {path} lacks {', '.join(absent)}, which its metadata.yaml names")
    if later:
        found.notes.append(
            f"{', '.join(f.name for f in later)} of bag {path} is read too, which its metadata.yaml lacks"
        )
    unread = [f.name for f in there if f not in found.files]
    if unread:
        found.notes.append(
            f"bag {path} also holds {', '.join(unread)}, which its metadata.yaml lacks and which is not read"
        )
    return found


def _parts_of_ros1(path: Path) -> list[Path]:
    """The ROS 1 bags of a folder where they are the parts of one recording, in their order."""
    files = [f for f in visible_files(path) if has_ending(f, ROS1_ENDINGS)]
    if len(files) < 2:
        return files
    stems = {f: f.name.removesuffix(".active").removesuffix(".bag") for f in files}
    numbered = {f: _PART.search(stem) for f, stem in stems.items()}
    drives = {_DATE.sub("", _PART.sub("", stem)) for stem in stems.values()}
    numbers = {f: int(match.group(1)) for f, match in numbered.items() if match}
    if len(drives) > 1 or len(set(numbers.values())) < len(files):
        raise VprError(
            f"folder {path} holds {len(files)} ROS 1 bags that are not the numbered parts of one recording "
            f"({', '.join(f.name for f in files[:4])}{', ...' if len(files) > 4 else ''}); give one of them, or a "
            "folder for each recording"
        )
    return sorted(files, key=numbers.__getitem__)


def _beside(file: Path) -> list[str]:
    """What lies beside a single file and is not read with it."""
    names = [f"{file.name}{end}" for end in (".active", ".part")]
    stem = _PART.sub("", file.stem)
    unread = [
        f.name
        for f in visible_files(file.parent)
        if f != file and (f.name in names or (f.name.endswith(".bag.active") and f.name.startswith(f"{stem}_")))
    ]
    return (
        [f"{', '.join(unread)} beside {file} is unfinished and not read; give the folder to read the parts"]
        if unread
        else []
    )


def _follows(file: Path, listed: Path) -> bool:
    """Whether a file is a later part of the recording that a listed file is part of."""
    name, known = (f.name.split(".")[0] for f in (file, listed))
    number, before = _PART.search(name), _PART.search(known)
    return (
        number is not None
        and before is not None
        and _PART.sub("", name) == _PART.sub("", known)
        and int(number.group(1)) > int(before.group(1))
    )


def _without_packed_twins(files: list[Path]) -> list[Path]:
    """Without compressed files that lie beside what they were, or were to be, made of."""
    names = {f.name for f in files}
    return [f for f in files if not (f.name.endswith(".zstd") and f.name.removesuffix(".zstd") in names)]


def visible_files(folder: Path) -> list[Path]:
    """What a folder holds, sorted, but for hidden files; VprError where it cannot be read."""
    try:
        return sorted(f for f in folder.iterdir() if not f.name.startswith("."))
    except OSError as error:
        raise VprError(f"folder {folder} cannot be read ({error.strerror}); check its rights") from None


def has_ending(file: Path, endings: tuple[str, ...]) -> bool:
    """Whether a file's name ends with one of these, in small or large letters."""
    return file.name.lower().endswith(endings)
