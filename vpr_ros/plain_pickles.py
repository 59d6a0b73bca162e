"""Pickles read as plain data: nothing inside the file is ever imported or called.

A pickle is a program. Here every name that it imports resolves to a substitute from this module, which builds numbers,
text, containers or numeric arrays; any other name is refused. Arrays are made from their bytes by `np.frombuffer`;
numpy's own unpickling is not used.
"""

import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np

_NUMERIC = {f"{kind}{size}" for kind, sizes in (("i", "1248"), ("u", "1248"), ("f", "248")) for size in sizes} | {"b1"}
_ORDERS = {"<": "<", ">": ">", "=": "=", "|": "|"}
_OBJECTS = ("O", "O8", "|O", "|O8")


class RefusedError(Exception):
    """The pickle imports a name that has no substitute, or builds an object that is not plain data: says what."""


class _Dtype:
    """Substitute for numpy.dtype: a numeric type and a byte order."""

    def __init__(self, name="", *_):
        self.name, self.order = str(name), "="

    def __setstate__(self, state):
        self.order = state[1]

    def numpy(self) -> np.dtype:
        """The type; refuses objects, records, text and dates."""
        if self.name not in _NUMERIC or self.order not in _ORDERS:
            raise RefusedError(f"arrays of type '{self.name[:20]}'")
        return np.dtype(self.order.replace("|", "=") + self.name)


class _Array:
    """Substitute for an array that is being built; one of objects becomes the list of them."""

    def __init__(self, value: np.ndarray | list | None = None):
        self.value = value

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        if isinstance(dtype, _Dtype) and dtype.name in _OBJECTS and isinstance(data, list) and shape == (len(data),):
            self.value = data
            return
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise RefusedError("an array that is not numbers")
        flat = np.frombuffer(data, dtype.numpy())
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _scalar(dtype, data):
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise RefusedError("a number that is none")
    return np.frombuffer(data, dtype.numpy())[0].item()


def _from_buffer(data, dtype, shape, order):
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise RefusedError("an array that is not numbers")
    return _Array(np.frombuffer(bytes(data), dtype.numpy()).reshape(shape, order=order))


def _empty_bytes(*given):
    """Old protocols write empty bytes as a call; a number given to it would be a size to allocate."""
    if given:
        raise RefusedError("bytes made by a call")
    return b""


def _latin1(text, encoding):
    if encoding != "latin1":
        raise RefusedError(f"the text encoding {encoding}")
    return text.encode("latin1")


def _record() -> type:
    """A new substitute for a class: it collects the fields of an object."""

    class Record:
        fields = None

        def __setstate__(self, state):
            self.fields = state

    return Record


def _names() -> dict[tuple[str, str], Callable]:
    """Substitutes by module and name; made for each file, so that one file cannot affect the next."""

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
    return names


class _Unpickler(pickle.Unpickler):
    """An unpickler that resolves every global name to a substitute."""

    def __init__(self, stream, records: Iterable[str]):
        super().__init__(stream)
        self._names = _names()
        self.records = {name: _record() for name in records}

    def find_class(self, module: str, name: str) -> Any:
        if name in self.records:
            return self.records[name]
        if (module, name) not in self._names:
            raise RefusedError(f"{module}.{name}")
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedError("an outside object")


def load_plain(
    stream: BinaryIO, records: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None, object_arrays: bool = False
) -> Any:
    """What a pickle holds, as dict, list, tuple, set, str, bytes, int, float and numeric arrays.

    `records` says by a class's name, whatever its module, what is made of the fields of its objects. With
    `object_arrays`, one-dimensional arrays of objects become lists. Raises RefusedError where the pickle asks for
    anything else, OSError, and any other kind of exception for bytes that are torn or no pickle.
    """
    records = records or {}
    reader = _Unpickler(stream, records)
    value = reader.load()
    return _Plain({reader.records[name]: make for name, make in records.items()}, object_arrays)(value)


class _Plain:
    """Replaces substitutes by the values that they built; shared parts are processed once, however often they
    appear."""

    def __init__(self, makers: Mapping[type, Callable[[dict], Any]], object_arrays: bool):
        self._makers, self._object_arrays, self._seen = makers, object_arrays, {}

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, str | int | float | bytes | bytearray):
            return value
        if id(value) not in self._seen:
            self._seen[id(value)] = self._of(value), value  # the value is kept alive: ids of freed objects are reused
        return self._seen[id(value)][0]

    def _of(self, value: Any) -> Any:
        if isinstance(value, _Array) and isinstance(value.value, np.ndarray):
            return value.value
        if isinstance(value, _Array) and isinstance(value.value, list):
            if not self._object_arrays:
                raise RefusedError("an array that is not numbers")
            return [self(v) for v in value.value]
        if type(value) in self._makers:
            fields = getattr(value, "fields", None)
            fields = fields if isinstance(fields, dict) else {}
            return self._makers[type(value)]({self(k): self(v) for k, v in fields.items()})
        if isinstance(value, dict):
            return {self(k): self(v) for k, v in value.items()}
        if isinstance(value, list):
            # Lists may hold millions of plain integers, which need no processing one by one.
            return value if all(type(v) is int for v in value) else [self(v) for v in value]
        if isinstance(value, tuple | set):
            return type(value)(self(v) for v in value)
        raise RefusedError(f"an object of kind {type(value).__name__.strip('_')}")
