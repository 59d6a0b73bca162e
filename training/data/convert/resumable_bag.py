"""Data-set folders to ROS 2 bags: streamed, in parts of bounded size, and resumable after any kill.

A conversion is a set of streams. A stream is a light table of times and a function that makes the messages of one event
on demand, from files. Events of all streams are written in the order of time, part by part; a part is one `.mcap` file.
Where parts begin depends on the table alone and every part can be made by itself, so a conversion that was killed
continues with the first missing part and ends with the same files as an uninterrupted one. Memory holds the table (some
ten bytes an event) and the current event, for a folder of any size.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros import __version__
from vpr_ros.errors import FrameError, VprError
from vpr_ros.training.data.convert.journal import Journal

PART_BYTES = 512 << 20  # the most work that a kill can lose; every file system can hold files of this size


@dataclass(frozen=True)
class Stream:
    """Events of one kind. `messages(i)` gives the (topic, message) pairs of event i; they share its time.

    times_ns (N,) int64: the bag's receive times, not decreasing. `event_bytes`: about how large one event is in the
    bag, only used to divide the bag into parts. `messages` raises FrameError for an event that cannot be used (a torn
    picture): it is left out, counted by `name`, and the conversion continues. It must depend on i alone.
    """

    name: str
    times_ns: np.ndarray
    messages: Callable[[int], Iterable[tuple[str, Any]]]
    event_bytes: int = 1000


@dataclass
class Converted:
    """What a conversion wrote."""

    path: Path
    messages: int  # in the whole bag
    parts: int
    kept_parts: int  # that an earlier, interrupted run had finished
    skipped: Counter[str] = field(default_factory=Counter)  # stream name -> events left out
    first_errors: dict[str, str] = field(default_factory=dict)  # stream name -> sentence of the first one
    notes: list[str] = field(default_factory=list)  # what the folder lacks although it is usable


class ResumableBag:
    """A ROS 2 bag folder (metadata version 8, mcap) that grows part by part: `<bag>_0.mcap`, `<bag>_1.mcap`, ...

    `identity`: what identifies this conversion (source folder, options), as JSON values. A folder that was begun with
    another identity, other streams or other times is refused. metadata.yaml is written last: a folder with it is
    complete. Raises VprError for a complete bag, a folder with other content, one that is being written by another
    program, and a disk that is full or read-only; once there is space, the same call continues. `anew` removes an
    existing bag first, finished or not.
    """

    def __init__(
        self, path, streams: Sequence[Stream], identity: dict, part_bytes: int = PART_BYTES, anew: bool = False
    ):
        self.path, self.streams, self._anew = Path(path), list(streams), anew
        if len({s.name for s in self.streams}) != len(self.streams):
            raise ValueError("two streams share a name")
        times = [np.asarray(s.times_ns, np.int64) for s in self.streams]
        which = np.repeat(np.arange(len(times)), [len(t) for t in times])
        index = np.concatenate([np.arange(len(t)) for t in times]) if times else np.empty(0, np.int64)
        time = np.concatenate(times) if times else np.empty(0, np.int64)
        order = np.lexsort((index, which, time))
        self._stream, self._index, self._time = which[order].astype(np.int16), index[order], time[order]
        if not len(order):
            raise VprError(f"nothing to convert into {self.path}: the folder holds no reading of any sensor")
        sizes = np.array([max(1, int(s.event_bytes)) for s in self.streams], np.int64)[self._stream]
        part = (np.cumsum(sizes) - sizes) // max(1, int(part_bytes))
        self._starts = np.concatenate([[0], np.flatnonzero(np.diff(part)) + 1, [len(order)]])
        table = hashlib.sha256(self._time.tobytes() + self._stream.tobytes() + self._starts.tobytes())
        self._identity = {
            **identity,
            "vpr_ros": __version__,
            "streams": [s.name for s in self.streams],
            "table": table.hexdigest(),
        }

    @property
    def parts(self) -> int:
        """Number of files that the bag will have."""
        return len(self._starts) - 1

    def __len__(self) -> int:
        """Number of events."""
        return len(self._time)

    def write(self, progress: Callable[[int, int], None] | None = None) -> Converted:
        """Write what is missing and complete the bag. `progress(events done, events in all)`."""
        with Journal(self.path, self._identity, self._anew) as journal:
            done = journal.finished()
            kept = len(done)
            for part in range(self.parts):
                start, stop = int(self._starts[part]), int(self._starts[part + 1])
                if part not in done:
                    done[part] = self._write_part(journal, part, range(start, stop), progress)
                if progress:
                    progress(stop, len(self))
            records = [done[part] for part in range(self.parts)]
            journal.complete(records)
        result = Converted(self.path, sum(r["metadata"]["message_count"] for r in records), self.parts, kept)
        for record in records:
            result.skipped.update(record["skipped"])
            for name, sentence in record["first_errors"].items():
                result.first_errors.setdefault(name, sentence)
        return result

    def _write_part(self, journal: Journal, part: int, events: range, progress) -> dict:
        from vpr_ros.sensors.bags.writer import BagWriter

        folder = journal.workspace / f"{self.path.name}_{part}"
        skipped: Counter[str] = Counter()
        errors: dict[str, str] = {}
        try:
            shutil.rmtree(folder, ignore_errors=True)
            with BagWriter(folder) as bag:
                for event in events:
                    stream, time = self.streams[self._stream[event]], int(self._time[event])
                    try:
                        pairs = list(stream.messages(int(self._index[event])))
                    except FrameError as error:
                        skipped[stream.name] += 1
                        errors.setdefault(stream.name, str(error))
                        continue
                    for topic, message in pairs:
                        bag.write(topic, message, time)
                    if progress:
                        progress(event + 1, len(self))
            return journal.add(part, folder, skipped, errors)
        except VprError as error:
            if str(folder) not in str(error):
                raise
            raise self._unwritable(error.__context__ or error) from None  # the writer names the hidden folder
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: BaseException) -> VprError:
        reason = getattr(error, "strerror", None) or error
        return VprError(
            f"bag {self.path} could not be written ({reason}); check the space on the disk and its rights, "
            "then run the same command again: it goes on where it stopped"
        )
