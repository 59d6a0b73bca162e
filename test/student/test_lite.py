"""The shipped network's trunk is our own; timm, which it equals, is needed for other networks only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vpr_ros.student.trunks.features import PROBE, stages_of
from vpr_ros.student.trunks.lite import SCALES, EfficientNetLite

ROOT = Path(__file__).parents[2]


def shaken(network):
    """Weights, and statistics of batch norms, that are not those of the start."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand(value.shape, generator=generator)
                value.copy_(noise + 0.5 if key.endswith("running_var") else value + 0.2 * (noise - 0.5))
    return network


@pytest.mark.parametrize("name", SCALES)
def test_names_shapes_and_stages_are_those_of_timm(name):
    import timm

    with torch.device("meta"):
        ours, theirs = EfficientNetLite(name), timm.create_model(name)
        maps, found = theirs.bn1(theirs.conv_stem(torch.empty(1, 3, PROBE, PROBE))), []
        for block in theirs.blocks:
            maps = block(maps)
            found.append((maps.shape[1], PROBE // maps.shape[2]))
    entries = [[(key, value.shape) for key, value in one.state_dict().items()] for one in (ours, theirs)]
    assert entries[0] == entries[1]
    assert [tuple(stage) for stage in stages_of(name)] == found


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_the_same_numbers_come_out_to_the_last_bit(name, size):
    import timm

    theirs = shaken(timm.create_model(name)).eval()
    ours = EfficientNetLite(name).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_a_training_step_changes_what_it_changes_in_timm():
    import timm

    theirs = shaken(timm.create_model("tf_efficientnet_lite0", drop_rate=0.0))
    ours = EfficientNetLite("tf_efficientnet_lite0")
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for network in (ours, theirs):
        network.train()(x).square().mean().backward()
    gradients = dict(theirs.named_parameters())
    for key, value in ours.named_parameters():
        torch.testing.assert_close(value.grad, gradients[key].grad, rtol=1e-4, atol=1e-6)
    statistics = {key: value for key, value in theirs.state_dict().items() if "running" in key}
    for key, value in statistics.items():
        torch.testing.assert_close(ours.state_dict()[key], value)


def test_the_start_keeps_the_size_of_numbers():
    network = EfficientNetLite("tf_efficientnet_lite0").eval()
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    stem = network.conv_stem
    assert (
        isinstance(stem, nn.Conv2d) and 0.05 < float(stem.weight.detach().std()) < 0.12
    )  # sqrt(2 / (9 * 32)) is 0.083


def run(program, folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_shipped_network_needs_neither_timm_nor_torchvision(tmp_path):
    program = (
        "import sys; sys.modules['timm'] = sys.modules['torchvision'] = None\n"
        "import numpy as np\n"
        "from vpr_ros.student import DescriptorExtractor\n"
        "extractor = DescriptorExtractor.from_checkpoint('nano', 'cpu')\n"
        "assert extractor.describe([np.zeros((64, 64, 3), np.uint8)]).shape == (1, extractor.dim)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    done = run(program, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "error",
    [
        'RuntimeError("operator torchvision::nms does not exist")',
        'ImportError("libcudart.so.13: cannot open shared object file")',
        'AttributeError("partially initialized module")',
    ],
)
def test_a_torchvision_that_does_not_fit_is_one_sentence_with_the_cure(tmp_path, error):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"raise {error}\n")
    program = (
        "from vpr_ros.cli import app\n"
        f"app(['models', 'import', 'timm:resnet18', '-o', {str(tmp_path / 'x.safetensors')!r}])\n"
    )
    done = run(program, tmp_path)
    assert done.returncode == 2, done.stderr
    text = done.stderr.strip()
    assert text.startswith("error: timm does not load") and "\n" not in text, text
    assert f"torch {torch.__version__.partition('+')[0]}" in text and "torchvision" in text
    assert "install both from one place" in text and not (tmp_path / "x.safetensors").exists()
