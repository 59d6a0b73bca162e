"""The table `frames.csv` of a set that is being recorded: locked, appended row by row, and repaired when opened."""

import csv
import fcntl
import io
import os
from collections.abc import Iterable
from pathlib import Path

from vpr_ros.errors import VprError
from vpr_ros.training_set.format import COLUMNS, TABLE


class RowTable:
    """The open table of one folder, which no other program can open for writing until it is closed.

    Opening drops a torn last row and rows at the end whose files are missing or empty, and writes the header of a new
    table. VprError where another program has it open; OSError where it cannot be written.
    """

    def __init__(self, folder: Path):
        path = folder / TABLE
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._length = _length_of_whole_rows(path)
            os.ftruncate(self._file, self._length)
            if not self._length:
                self.append(COLUMNS)
        except BlockingIOError:
            self.close()
            raise VprError(f"{folder} is being recorded by another program; name another folder") from None
        except OSError:
            self.close()
            raise

    def append(self, row: Iterable[str | int]) -> None:
        """Write one row; after an OSError the table is unchanged."""
        text = io.StringIO()
        csv.writer(text).writerow(row)
        data = text.getvalue().encode()
        try:
            if os.write(self._file, data) < len(data):
                raise OSError(28, "No space left on device")
        except OSError:
            os.ftruncate(self._file, self._length)  # no part of a row stays
            raise
        self._length += len(data)

    def sync(self) -> None:
        """Flush the rows to the disk, so that they survive a power cut."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file and release its lock."""
        os.close(self._file)


def _length_of_whole_rows(table: Path) -> int:
    """Bytes of the table up to its last row that is whole and whose files exist."""
    lines = table.read_bytes().split(b"\n")[:-1]  # what follows the last line's end is torn
    while lines:
        row = next(csv.reader([lines[-1].decode("utf-8", "replace")]), [])
        if tuple(row) == COLUMNS or _is_whole(row, table.parent):
            break
        lines.pop()
    return sum(len(line) + 1 for line in lines)


def _is_whole(row: list[str], folder: Path) -> bool:
    files = [folder / name for name in row[-2:] if name]
    return len(row) == len(COLUMNS) and all(path.is_file() and path.stat().st_size > 0 for path in files)
