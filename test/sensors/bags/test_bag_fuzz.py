"""Bags with any damage: what is whole is read and what is missing is told, or one sentence refuses the bag."""

import pytest
from damage import alert, damaged, damages, examples
from hypothesis import given
from support.mcap_bytes import McapBytes
from test_bag_files import TEXTS as FEW
from test_bag_files import write
from test_torn_bags import CHANNEL, TEXTS, mcap_bytes, ros1_bytes, string_cdr, zstd

from vpr_ros.errors import VprError
from vpr_ros.sensors import Bag, reading_bags


def zstd_chunks() -> bytes:
    messages = [(0, i + 1, string_cdr(text)) for i, text in enumerate(TEXTS)]
    return bytes(McapBytes([CHANNEL], messages, compression="zstd", compress=zstd.compress))


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name in ("plain", "packed"):
        (folder / name).mkdir()
    return {
        "chunks.mcap": mcap_bytes(4),
        "loose.mcap": mcap_bytes(None),
        "zstd.mcap": zstd_chunks(),
        "plain.bag": ros1_bytes(folder / "plain"),
        "packed.bag": ros1_bytes(folder / "packed", 400, "LZ4"),
        "rows.db3": next(write(folder / "rows").glob("*.db3")).read_bytes(),
    }


def read(path) -> tuple[list[str], list[str]]:
    """Texts of all messages, and what was told of losses and unreadable messages; VprError in one line."""
    told: list[str] = []
    try:
        with alert(), reading_bags(tell=told.append), Bag(path) as bag:
            names = [t.name for t in bag.topics]
            messages = bag.messages(names, lambda _, error: told.append(str(error)))
            texts = [str(getattr(message, "data", "")) for _, _, message in messages]
            assert len(list(bag.receive_times(names))) >= len(texts)
    except VprError as error:
        told.append(str(error))
        texts = []
    assert not any("\n" in sentence for sentence in told)
    return texts, told


@pytest.mark.parametrize("name", ["chunks.mcap", "loose.mcap", "zstd.mcap", "plain.bag", "packed.bag", "rows.db3"])
def test_fuzz_files(bags, tmp_path, name):
    written = set(FEW if name.endswith("db3") else TEXTS)

    @examples(60)
    @given(damages)
    def fuzz(damage):
        data = damaged(bags[name], damage)
        (tmp_path / name).write_bytes(data)
        texts, told = read(tmp_path / name)
        if name in ("chunks.mcap", "zstd.mcap") and data.count(b"\x06") and not told:
            assert set(texts) <= written  # their chunks have checksums

    fuzz()


def test_fuzz_metadata(tmp_path):
    folder = write(tmp_path / "bag", "mcap")
    whole = (folder / "metadata.yaml").read_bytes()

    @examples(15)
    @given(damages)
    def fuzz(damage):
        (folder / "metadata.yaml").write_bytes(damaged(whole, damage))
        texts, _ = read(folder)
        assert texts in (FEW, [])

    fuzz()
