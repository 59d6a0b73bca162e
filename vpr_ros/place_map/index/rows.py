"""Where an index reads the exact descriptors of its rows."""

from typing import Protocol

import numpy as np


class Rows(Protocol):
    """An array (N, dim) float16, or what gives rows as one does."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: "slice | np.ndarray", /) -> np.ndarray: ...


class Columns:
    """Some columns of rows."""

    def __init__(self, rows: Rows, columns: slice):
        self._rows, self._columns = rows, columns
        self.shape = (len(rows), columns.stop - columns.start)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: "slice | np.ndarray") -> np.ndarray:
        return self._rows[rows][:, self._columns]


class Joined:
    """Rows behind rows, growing at the end."""

    def __init__(self, dim: int):
        self.shape = (0, dim)
        self._pieces: list[Rows] = []
        self._starts: list[int] = []

    def __len__(self) -> int:
        return self.shape[0]

    def append(self, piece: Rows) -> None:
        """Rows (M, dim), which must stay as they are."""
        self._pieces.append(piece)
        self._starts.append(len(self))
        self.shape = (len(self) + len(piece), self.shape[1])

    def truncate(self, count: int) -> None:
        """Only the first `count` rows from now on."""
        while self._starts and self._starts[-1] >= count:
            self._pieces.pop()
            self._starts.pop()
        self.shape = (count, self.shape[1])

    def __getitem__(self, rows: "slice | np.ndarray") -> np.ndarray:
        """Rows of the numbers (M,), or of a slice."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        out = np.empty((len(rows), self.shape[1]), dtype=np.float16)
        piece_of = np.searchsorted(self._starts, rows, side="right") - 1
        for piece in np.unique(piece_of).tolist():
            mine = piece_of == piece
            out[mine] = self._pieces[piece][rows[mine] - self._starts[piece]]
        return out
