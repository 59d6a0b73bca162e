"""A .safetensors file begins with its header's length, whose bytes may be those with which another format begins."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vpr_ros.tensor_files import read_tensors


@pytest.mark.parametrize(
    ("first", "length"), [(b"\x80", 0x180), (b" <", int.from_bytes(b" <", "little"))], ids=["pickle", "web page"]
)
def test_a_header_whose_length_begins_as_another_format_is_read(tmp_path, first, length):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.arange(3.0)}, path, metadata={"pad": ""})
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"]["pad"] = "x" * (length - len(json.dumps(header)))
    path.write_bytes(length.to_bytes(8, "little") + json.dumps(header).encode() + data[end:])
    assert path.read_bytes().startswith(first)
    state, metadata = read_tensors(path)
    assert torch.equal(state["a"], torch.arange(3.0)) and set(metadata) == {"pad"}
