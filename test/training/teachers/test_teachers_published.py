"""Published checkpoints, made from METHODS' tables: they load strictly and compute what METHODS says."""

from pathlib import Path

import numpy as np
import pytest
import teachers_naive as naive
import teachers_published as published
import torch
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.training.sparse import backend
from vpr_ros.training.teachers import load_teacher

TABLES = {
    "minkloc++": published.cloud_table(128) | published.image_table(128),
    "minkloc++-cloud": published.cloud_table(256),
    "minkloc++-image": published.image_table(256),
    "adafusion": published.adafusion_table(),
    "cricavpr": published.cricavpr_table(),
    "distilvpr-resnet18": published.distil_image_table(384),
    "distilvpr-minkloc++": published.cloud_table(128, "bns", "conv1x1s")
    | published.distil_image_table(256, "image_fe."),
}
SMALL_CRICA = dict(width=64, depth=2, encoder_hidden=48, encoder_heads=4)


def cloud(seed, points=140):
    """Points in a box of 12 voxels of 0.01 around the origin, so that neighbours and negative voxels exist."""
    return (np.random.default_rng(seed).random((points, 3)).astype("f") - 0.5) * np.float32(0.12)


def relative(a, b):
    return float(
        (torch.as_tensor(a).double() - torch.as_tensor(b).double()).abs().max() / torch.as_tensor(b).abs().max()
    )


def test_the_tables_have_the_documented_sizes():
    sizes = {name: len(table) for name, table in TABLES.items()}
    assert sizes["minkloc++"] == 166 and sizes["cricavpr"] == 668
    numbers = {}
    for name, table in TABLES.items():
        learnt = [
            np.prod(shape, dtype=int) for key, shape in table.items() if "running" not in key and "num_b" not in key
        ]
        numbers[name] = int(sum(learnt))
    assert numbers["minkloc++"] == 3_461_803 and numbers["minkloc++-cloud"] == 1_055_722
    assert numbers["minkloc++-image"] == 2_848_577 and numbers["adafusion"] == 2_345_586
    assert numbers["cricavpr"] == 106_761_665
    # as registered there, with the parts that are never called
    assert numbers["distilvpr-resnet18"] == 12_133_034


def test_minkloc_computes_what_its_published_weights_mean(tmp_path):
    state = published.filled(TABLES["minkloc++"])
    torch.save(state, tmp_path / "minklocmultimodal_baseline.pth")
    model = load_teacher("minkloc++", tmp_path / "minklocmultimodal_baseline.pth")
    clouds = [cloud(1), cloud(2, 90)]
    images = torch.randn(2, 3, 64, 80)
    with torch.inference_mode():
        heads = model.heads(images=images, clouds=[torch.from_numpy(c) for c in clouds])
    sparse = naive.Cloud(state)
    assert relative(heads["cloud"], torch.tensor(np.stack([sparse.embed(c, 0.01) for c in clouds]))) < 1e-5
    assert relative(heads["image"], naive_image(state, images, "image_fe.")) < 1e-5
    assert torch.equal(heads["final"], torch.cat([heads["cloud"], heads["image"]], 1)) and heads["final"].shape == (
        2,
        256,
    )


def test_both_backends_read_the_same_file_and_agree(tmp_path):
    try:
        backend("minkowski")
    except VprError as error:
        pytest.skip(str(error))
    torch.save(published.filled(TABLES["minkloc++-cloud"]), tmp_path / "cloud.pth")
    plain, engine = (load_teacher("minkloc++-cloud", tmp_path / "cloud.pth", sparse=s) for s in ("torch", "minkowski"))
    clouds = [torch.from_numpy(cloud(seed, 100 + 80 * seed)) for seed in range(3)]
    with torch.no_grad():
        assert relative(engine(clouds=clouds), plain(clouds=clouds)) < 1e-5
    for model in (plain, engine):
        model.train()(clouds=clouds).pow(2).sum().backward()
    for (key, ours), theirs in zip(plain.named_parameters(), engine.parameters(), strict=True):
        assert relative(theirs.grad, ours.grad) < 1e-3, key


def naive_image(state, images, prefix):
    """torchvision's own ResNet-18 on the published stem and stages, then 1x1 convolution and GeM by loops."""
    torchvision = pytest.importorskip("torchvision")
    there = {"resnet_fe.0": "conv1", "resnet_fe.1": "bn1"} | {f"resnet_fe.{i + 3}": f"layer{i}" for i in (1, 2, 3)}
    trunk = {}
    for key, value in state.items():
        key = key.removeprefix(prefix)
        if key.startswith("resnet_fe."):
            number = ".".join(key.split(".")[:2])
            trunk[key.replace(number, there[number], 1)] = value
        elif key.startswith("model."):
            trunk[key.removeprefix("model.")] = value
    net = torchvision.models.resnet18(weights=None).eval()
    left = net.load_state_dict(trunk, strict=False)
    assert not left.unexpected_keys and all(key.startswith(("layer4", "fc")) for key in left.missing_keys)
    with torch.inference_mode():
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        x = net.layer3(net.layer2(net.layer1(x)))
        name = "fh_conv1x1.4" if f"{prefix}fh_conv1x1.4.weight" in state else "conv1x1"
        x = F.conv2d(x, state[f"{prefix}{name}.weight"], state[f"{prefix}{name}.bias"]).flatten(2).double().numpy()
    p = state.get(f"{prefix}pool.p", state.get(f"{prefix}image_gem.p")).item()
    return torch.tensor(np.stack([naive.gem(list(one.T), p) for one in x]))


@pytest.mark.parametrize("prefixed", [True, False])
def test_single_branches_with_and_without_the_prefix_of_the_whole(tmp_path, prefixed):
    images, points = torch.randn(2, 3, 48, 64), cloud(3, 70)
    for name, prefix in (("minkloc++-cloud", "cloud_fe."), ("minkloc++-image", "image_fe.")):
        state = published.filled(TABLES[name], seed=4)
        stored = state if prefixed else {key.removeprefix(prefix): value for key, value in state.items()}
        torch.save({f"module.{key}": value for key, value in stored.items()}, tmp_path / "one.pth")
        model = load_teacher(name, tmp_path / "one.pth")
        assert model.cloud_unit == ("normalised" if name == "minkloc++-cloud" else "")
        with torch.inference_mode():
            if name == "minkloc++-cloud":
                got, expected = model(clouds=[torch.from_numpy(points)]), naive.Cloud(state).embed(points, 0.01)[None]
            else:
                got, expected = model(images), naive_image(state, images, prefix)
        assert got.shape[1] == 256 and relative(got, expected) < 1e-5


def test_distilvpr_teacher_and_student(tmp_path):
    images, points = torch.randn(1, 3, 48, 64), cloud(5, 70)
    state = published.filled(TABLES["distilvpr-minkloc++"], seed=1)
    torch.save(state, tmp_path / "teacher.pth")
    model = load_teacher("distilvpr-minkloc++", tmp_path / "teacher.pth")
    with torch.inference_mode():
        got = model(images, [torch.from_numpy(points)])
    sparse = naive.Cloud(state, norms="bns", laterals="conv1x1s").embed(points, 0.01)
    expected = torch.cat([torch.tensor(sparse)[None], naive_image(state, images, "image_fe.")], 1)
    assert got.shape == (1, 384) and relative(got, expected) < 1e-5
    state = published.filled(TABLES["distilvpr-resnet18"], seed=2)
    torch.save(state, tmp_path / "student.pth")
    model = load_teacher("distilvpr-resnet18", tmp_path / "student.pth")
    with torch.inference_mode():
        assert relative(model(images), naive_image(state, images, "")) < 1e-5


@pytest.mark.parametrize("shift", [0, 3])
def test_adafusion_equals_loops_whatever_numbers_its_stages_have(tmp_path, shift):
    state = published.filled(TABLES["adafusion"], seed=3)
    names = {}
    for key in state:
        part, number, rest = (key.split(".", 2) + [""])[:3]
        renumbered = f"{part}.{shift + 2 * int(number)}.{rest}" if "_feature" in part and shift else key
        names[f"module.{renumbered}"] = state[key]
    torch.save({"state_dict": names, "epoch": 3}, tmp_path / "ada.pth")
    model = load_teacher("adafusion", tmp_path / "ada.pth")
    images, voxels = torch.randn(1, 3, 48, 64), (torch.rand(1, 1, 16, 16, 8) < 0.1).float()
    with torch.inference_mode():
        got = model(images=images, voxels=voxels)[0]
        assert got.shape == (256,) and relative(got, naive.adafusion(state, images[0], voxels[0])) < 1e-4


def test_every_number_of_a_full_cricavpr_is_found_again(tmp_path):
    state = published.marked(TABLES["cricavpr"])
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "CricaVPR.pth")
    ours = load_teacher("cricavpr", tmp_path / "CricaVPR.pth").state_dict()
    for block in range(12):
        theirs, here = f"backbone.blocks.{block}.adapter.", f"backbone.blocks.{block}.adapter."
        for joined, parts in {
            "mix": ("branch1.conv", "branch2.0.conv", "branch3.0.conv"),
            "mix_norm": ("branch1.bn", "branch2.0.bn", "branch3.0.bn"),
            "spread_norm": ("branch2.1.bn", "branch3.1.bn"),
        }.items():
            for entry in ("weight", "bias") if joined == "mix" else ("weight", "bias", "running_mean", "running_var"):
                rows = [state.pop(f"{theirs}{part}.{entry}") for part in parts]
                expected = torch.cat([row.flatten(1) if row.ndim > 1 else row for row in rows])
                assert torch.equal(ours.pop(f"{here}{joined}.{entry}"), expected)
        for part, name in (
            ("D_fc1", "down"),
            ("D_fc2", "up"),
            ("branch2.1.conv", "spread3"),
            ("branch3.1.conv", "spread5"),
        ):
            for entry in ("weight", "bias"):
                assert torch.equal(ours.pop(f"{here}{name}.{entry}"), state.pop(f"{theirs}{part}.{entry}"))
    renamed = {
        "norm.weight": "backbone.norm.weight",
        "norm.bias": "backbone.norm.bias",
        "aggregator.p": "aggregation.1.p",
    }
    for key, value in ours.items():
        if not key.endswith("num_batches_tracked"):
            theirs = renamed.get(key, key.replace("encoder.stack.", "encoder."))
            assert torch.equal(value, state.pop(theirs)), key
    assert all(key.endswith("num_batches_tracked") for key in state)


@pytest.mark.parametrize("encoder", [True, False])
def test_cricavpr_equals_loops(tmp_path, encoder):
    state = published.filled(published.cricavpr_table(64, 2, 48), seed=6)
    torch.save({"model_state_dict": state}, tmp_path / "crica.pth")
    # 12 x 14 tokens: neither square nor the 16 x 16 that the cuts were made for
    model = load_teacher("cricavpr", tmp_path / "crica.pth", encoder=encoder, image_size=(168, 196), **SMALL_CRICA)
    images = torch.randn(2, 3, 168, 196)
    with torch.inference_mode():
        got = model(images)
    expected = naive.cricavpr(state, images, 1, 4, encoder)
    assert got.shape == (2, 14 * 64) and relative(got, expected) < 2e-5
    # the same with gradients, which takes the other way through the adapters
    assert relative(model(images).detach(), expected) < 2e-5


def test_files_that_do_not_fit_are_refused_by_their_own_names(tmp_path):
    faults = {
        "minkloc++": ("image_fe.resnet_fe.5.0.conv1.weight", "cloud_fe.backbone.blocks.1.0.eca.conv.weight"),
        "minkloc++-cloud": ("cloud_fe.pooling.pooling.p", "cloud_fe.backbone.tconvs.0.kernel"),
        "distilvpr-minkloc++": ("cloud_fe.backbone.bns.1.bn.bias", "cloud_fe.backbone.conv1x1s.0.kernel"),
        "distilvpr-resnet18": ("image_gem.p", "conv1x1.bias"),
        "adafusion": ("v_attention_pos2.qkv_conv.bias", "vl_atten_fusion.4.weight"),
    }
    for name, (absent, misshapen) in faults.items():
        state = published.marked(TABLES[name])
        had = tuple(state[misshapen].shape)
        del state[absent]
        state["extra.thing"], state[misshapen] = torch.zeros(2), torch.zeros(3, 1)
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(VprError) as error:
            load_teacher(name, tmp_path / "x.pth")
        said = str(error.value)
        assert f"x.pth does not fit the teacher '{name}': 1 entries are missing: {absent}; " in said
        assert "1 entries are unexpected: extra.thing; " in said
        assert (
            said.endswith(f"1 entries are of another shape: {misshapen} (3, 1) instead of {had}.") and "\n" not in said
        )


def test_a_cricavpr_file_that_does_not_fit_is_refused_by_its_own_names(tmp_path):
    table, prefix = published.cricavpr_table(64, 2, 48), "backbone.blocks.1.adapter."
    for key, value, words in (
        (f"{prefix}branch2.0.bn.bias", None, f"1 entries are missing: {prefix}branch2.0.bn.bias."),
        (
            f"{prefix}branch3.0.conv.weight",
            torch.zeros(2, 32, 3, 3),
            r"weight \(2, 32, 3, 3\) instead of \(2, 32, 1, 1\)",
        ),
        ("offset_generator.0.bias", torch.zeros(3), "unexpected: offset_generator.0.bias"),
        ("encoder.layers.1.linear1.bias", None, "missing: encoder.layers.1.linear1.bias"),
    ):
        state = published.marked(table) | ({} if value is None else {key: value})
        if value is None:
            del state[key]
        torch.save(state, tmp_path / "crica.pth")
        with pytest.raises(VprError, match=words):
            load_teacher("cricavpr", tmp_path / "crica.pth", **SMALL_CRICA)
    # without the encoder, its weights are not looked at
    assert load_teacher("cricavpr", tmp_path / "crica.pth", encoder=False, **SMALL_CRICA).encoder is None


class Payload:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_pickled_code_is_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = published.marked(published.cloud_table(256))
    torch.save({"state_dict": state, "args": Payload()}, "bad.pth")
    with pytest.raises(VprError, match="never executed"):
        load_teacher("minkloc++-cloud", "bad.pth")
    assert not Path("executed").exists()
    torch.load("bad.pth", weights_only=False)
    assert Path("executed").exists()


def test_a_checkpoint_of_another_network_is_told_apart(tmp_path):
    torch.save(published.marked(TABLES["minkloc++-cloud"]), tmp_path / "cloud.pth")
    with pytest.raises(VprError, match="does not fit the teacher 'minkloc.+-image'"):
        load_teacher("minkloc++-image", tmp_path / "cloud.pth")
    with pytest.raises(VprError, match="cannot read the checkpoint .*absent.pth"):
        load_teacher("minkloc++", tmp_path / "absent.pth")
