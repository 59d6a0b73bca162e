"""JSON, YAML and numpy's files: plain values, read without running anything that a file holds.

Whatever is wrong with the content is a ValueError with a reason in a few words, whatever the library raises: parsers
let through what Python's tokenizer, zlib or the stack say of torn and hostile files. A file that cannot be read at all
stays an OSError.
"""

import json
import warnings
from pathlib import Path
from typing import Any, Literal


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """The value of a YAML text of plain values; None for an empty one.

    Aliases are refused, as ROS does in its parameter files: a short text of them unfolds to billions of values.
    """
    import yaml

    class Plain(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: int) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError(f"it has an alias, '*{self.peek_event().anchor}': write the value out")
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader=Plain)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except Exception as error:  # besides its own, YAML raises what the values' types raise, as a date of no calendar
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def load_arrays(path: str | Path, mmap_mode: Literal["r"] | None = None) -> Any:
    """`numpy.load` without pickles: an array of an .npy file, or the archive of an .npz file."""
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's notes on old headers; a bad one is refused below
            return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise ValueError(f"it is torn or no file of numpy ({type(error).__name__})") from error


def load_object_rows(path: str | Path) -> list[Any] | None:
    """The elements of an .npy file with an array of objects (N,), as plain values; None for any other file.

    Such an array is a pickle, which is read without running it.
    """
    import numpy as np

    from vpr_ros.plain_pickles import RefusedError, load_plain

    try:
        with Path(path).open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if stream.read(6) != b"\x93NUMPY":
                return None
            stream.seek(0)
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
            if dtype != np.dtype(object):
                return None
            rows = load_plain(stream, object_arrays=True)
    except OSError:
        raise
    except RefusedError as refused:
        raise ValueError(f"it asks for {refused}, which plain values do not need, and was not read further") from None
    except Exception as error:
        raise ValueError(f"it is torn or no file of numpy ({type(error).__name__})") from error
    if not isinstance(rows, list) or shape != (len(rows),):
        raise ValueError(f"it is an array of objects of shape {shape}, not of one row each")
    return rows
