"""Published pickles (splits, image indices) read as plain data: nothing inside the file is ever imported or called.

A pickle is a program. Here every name that it imports resolves to a substitute from this module, which builds numbers,
text, containers, numeric arrays or a `TrainingTuple`; any other name raises VprError. Arrays are made from their bytes
by `np.frombuffer`; numpy's own unpickling is not used.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.errors import VprError

_NUMERIC = {f"{kind}{size}" for kind, sizes in (("i", "1248"), ("u", "1248"), ("f", "248")) for size in sizes} | {"b1"}
_ORDERS = {"<": "<", ">": ">", "=": "=", "|": "|"}


@dataclass
class TrainingTuple:
    """One element of a training split in MinkLoc's form, as plain data."""

    id: int
    timestamp: int
    rel_scan_filepath: str
    positives: np.ndarray  # (P,) ids, sorted
    non_negatives: np.ndarray  # (M,) ids, sorted: everything near, itself included
    position: np.ndarray  # (2,) northing, easting


class _RefusedError(Exception):
    """The pickle imports a name that has no substitute, or builds an object that is not plain data."""


class _Dtype:
    """Substitute for numpy.dtype: a numeric type and a byte order."""

    def __init__(self, name="", *_):
        self.name, self.order = str(name), "="

    def __setstate__(self, state):
        self.order = state[1]

    def numpy(self) -> np.dtype:
        """The type; refuses objects, records, text and dates."""
        if self.name not in _NUMERIC or self.order not in _ORDERS:
            raise _RefusedError(f"arrays of type '{self.name[:20]}'")
        return np.dtype(self.order.replace("|", "=") + self.name)


class _Array:
    """Substitute for an array that is being built."""

    def __init__(self, value: np.ndarray | None = None):
        self.value = value

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise _RefusedError("an array that is not numbers")
        flat = np.frombuffer(data, dtype.numpy())
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _scalar(dtype, data):
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise _RefusedError("a number that is none")
    return np.frombuffer(data, dtype.numpy())[0].item()


def _from_buffer(data, dtype, shape, order):
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise _RefusedError("an array that is not numbers")
    return _Array(np.frombuffer(bytes(data), dtype.numpy()).reshape(shape, order=order))


def _empty_bytes(*given):
    """Old protocols write empty bytes as a call; a number given to it would be a size to allocate."""
    if given:
        raise _RefusedError("bytes made by a call")
    return b""


def _latin1(text, encoding):
    if encoding != "latin1":
        raise _RefusedError(f"the text encoding {encoding}")
    return text.encode("latin1")


def _names() -> dict[tuple[str, str], Callable]:
    """Substitutes by module and name; made for each file, so that one file cannot affect the next."""

    class Tuple:
        """Collects the fields of a TrainingTuple."""

        def __setstate__(self, state):
            self.fields = state

    def reconstruct(*_):
        return _Array()

    def rebuild(kind, *_):
        return kind()

    names: dict[tuple[str, str], Any] = {("_codecs", "encode"): lambda t, e="latin1": _latin1(t, e)}
    for package in ("numpy.core", "numpy._core"):
        names[f"{package}.multiarray", "_reconstruct"] = reconstruct
        names[f"{package}.multiarray", "scalar"] = lambda dtype, data: _scalar(dtype, data)
        names[f"{package}.numeric", "_frombuffer"] = lambda *a: _from_buffer(*a)
    names["numpy", "dtype"] = lambda *a: _Dtype(*a)
    names["numpy", "ndarray"] = lambda *_: _Array()
    for module in ("copyreg", "copy_reg"):
        names[module, "_reconstructor"] = rebuild
    for module in ("builtins", "__builtin__"):
        names[module, "object"] = lambda *_: None
        names[module, "bytes"] = _empty_bytes
        for kind in (list, dict, tuple, set, int, float, str):
            names[module, kind.__name__] = kind
    names["", "TrainingTuple"] = Tuple
    return names


class _Unpickler(pickle.Unpickler):
    """An unpickler that resolves every global name to a substitute."""

    def __init__(self, stream):
        super().__init__(stream)
        self._names = _names()
        self.tuple_kind = self._names["", "TrainingTuple"]

    def find_class(self, module: str, name: str) -> Any:
        key = ("", name) if name == "TrainingTuple" else (module, name)
        if key not in self._names:
            raise _RefusedError(f"{module}.{name}")
        return self._names[key]

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError("an outside object")


def read_pickle(path: str | Path) -> Any:
    """What a pickle holds, as dict, list, tuple, str, int, float, numeric arrays and TrainingTuple.

    Raises VprError for a file that is missing, torn, not a pickle, or imports anything else.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            reader = _Unpickler(stream)
            return _Plain(reader.tuple_kind)(reader.load())
    except OSError as error:
        raise VprError(f"{path} cannot be read ({error.strerror}); put the published pickle there") from None
    except _RefusedError as refused:
        raise VprError(
            f"{path} asks for {refused}, which plain data does not need, and was not read further; take "
            "the file from its publisher, or build the split from the data"
        ) from None
    except RecursionError:
        raise VprError(f"{path} is nested too deeply to be a split; take the file from its publisher") from None
    except Exception as error:  # an unpickler raises any kind of exception for torn bytes
        raise VprError(f"{path} is torn or no pickle ({type(error).__name__}); fetch it again") from None


class _Plain:
    """Replaces substitutes by the values that they built; shared parts are processed once, however often they
    appear."""

    def __init__(self, tuple_kind):
        self._tuple_kind, self._seen = tuple_kind, {}

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, str | int | float | bytes | bytearray):
            return value
        if id(value) not in self._seen:
            self._seen[id(value)] = self._of(value), value  # the value is kept alive: ids of freed objects are reused
        return self._seen[id(value)][0]

    def _of(self, value: Any) -> Any:
        if isinstance(value, _Array) and value.value is not None:
            return value.value
        if isinstance(value, self._tuple_kind):
            return self._training_tuple(getattr(value, "fields", None))
        if isinstance(value, dict):
            return {self(k): self(v) for k, v in value.items()}
        if isinstance(value, list):
            # Lists may hold millions of plain integers, which need no processing one by one.
            return value if all(type(v) is int for v in value) else [self(v) for v in value]
        if isinstance(value, tuple | set):
            return type(value)(self(v) for v in value)
        raise _RefusedError(f"an object of kind {type(value).__name__.strip('_')}")

    def _training_tuple(self, fields: Any) -> TrainingTuple:
        names = list(TrainingTuple.__dataclass_fields__)
        if not isinstance(fields, dict) or set(names) - set(fields):
            raise _RefusedError("a TrainingTuple without its fields")
        values = {name: self(fields[name]) for name in names}
        near = [np.asarray(values[name], np.int64).reshape(-1) for name in ("positives", "non_negatives")]
        position = np.asarray(values["position"], np.float64).reshape(-1)
        return TrainingTuple(
            int(values["id"]), int(values["timestamp"]), str(values["rel_scan_filepath"]), near[0], near[1], position
        )
