"""The number of threads follows the network's work for one batch, whoever opens it."""

import pytest
import torch

from vpr_ros.runtime import threads
from vpr_ros.runtime.opening import MANY, load_extractor, load_network, network_facts, network_phrase
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.runtime.threads import choose_threads

NANO = (2_989_256, (192, 192))
SMALL = (27_211_621, (224, 224))


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    """As on a machine of four cores; torch is left as it was."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "most_threads", lambda: 4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("network", "batch", "cores", "expected"),
    [
        (NANO, 1, 1, 1),
        (NANO, 1, 64, 1),
        (NANO, 4, 64, 1),
        (NANO, 8, 64, 1),
        (NANO, 16, 4, 2),
        (SMALL, 1, 1, 1),
        (SMALL, 1, 2, 2),
        (SMALL, 1, 64, 2),
        (SMALL, 8, 8, 8),
    ],
)
def test_small_work_stays_on_one_thread(network, batch, cores, expected):
    assert choose_threads(*network, batch, cores) == expected


@pytest.mark.parametrize(("asked", "batch", "count"), [(0, 0, 1), (0, 1, 1), (0, 64, 4), (3, 1, 3)])
def test_the_shipped_network_is_opened_on_one_thread_and_says_so(asked, batch, count):
    torch.set_num_threads(2)
    extractor = load_extractor(PipelineConfig(device="cpu", threads=asked), batch)
    assert torch.get_num_threads() == count == network_facts(extractor)["threads"]
    assert network_phrase(extractor) == f"cpu fp32, {count} thread{'s' if count > 1 else ''}"


def test_commands_that_describe_many_images_open_it_by_the_same_rule():
    torch.set_num_threads(2)
    extractor = load_network("nano", "cpu")
    assert torch.get_num_threads() == choose_threads(*NANO, MANY, 4) == network_facts(extractor)["threads"]
