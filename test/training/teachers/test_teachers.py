"""Teachers as networks: sizes, behaviour in batches, gradients, the registry and their checkpoints."""

import copy
import math
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
import teachers_naive as naive
import teachers_published as published
import torch
from torch import nn
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.training.sparse import SparseConv, SparseConvTranspose, backend, voxelise
from vpr_ros.training.teachers import TEACHERS, load_teacher, save_teacher
from vpr_ros.training.teachers.attention import ChannelAttention, PositionAttention
from vpr_ros.training.teachers.cricavpr import RegionPooling
from vpr_ros.training.teachers.minkfpn import ChannelAttention as EfficientChannelAttention
from vpr_ros.training.teachers.minkfpn import SparseGeM, attention_kernel
from vpr_ros.training.teachers.pooling import GeM

NETWORKS = [name for name, entry in TEACHERS.items() if entry.trained]
SMALL = {
    "minkloc++": dict(cloud_planes=(8, 16, 16), image_planes=(8, 8, 16), cloud_dim=12, image_dim=10),
    "minkloc++-cloud": dict(cloud_planes=(8, 16, 16), dim=20, voxel_size=0.02),
    "minkloc++-image": dict(image_planes=(8, 8, 16), dim=14, image_depth=34),
    "adafusion": dict(image_planes=(8, 12), cloud_planes=(4, 6, 8), image_size=(48, 64), grid_shape=(16, 16, 8)),
    "cricavpr": dict(
        width=64,
        depth=2,
        image_size=(112, 112),
        cuts="scaled",
        position_grid=(8, 8),
        encoder_heads=4,
        encoder_hidden=48,
        adapter_init="scratch",
    ),
    "distilvpr-resnet18": dict(image_planes=(8, 8, 16)),
    "distilvpr-minkloc++": dict(cloud_planes=(8, 16, 16), image_planes=(8, 8, 16)),
}
SIZES = {
    "minkloc++": (3_461_803, 256),
    "minkloc++-cloud": (1_055_722, 256),
    "minkloc++-image": (2_848_577, 256),
    "adafusion": (2_345_586, 256),
    "cricavpr": (106_761_665, 10_752),
    "distilvpr-resnet18": (2_881_473, 384),
    "distilvpr-minkloc++": (646_122 + 2_848_577, 384),
}


def small(name, seed=0, **options):
    """A bench-scale teacher whose every entry is random, so that nothing is zero or equal by initialisation."""
    torch.manual_seed(seed)
    model = load_teacher(name, **{**SMALL[name], **options})
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim < 2:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:  # as large as keeps the scale of what passes
                inputs = parameter.shape[:-1] if key.endswith("kernel") else parameter.shape[1:]
                parameter.normal_(std=math.sqrt(2 / math.prod(inputs)))
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model


def batch(model, count=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    made = {}
    if "images" in model.inputs.names:
        made["images"] = torch.randn(
            count, 3, *((112, 112) if hasattr(model, "norm") else (64, 80)), generator=generator
        )
    if "clouds" in model.inputs.names:
        made["clouds"] = [(torch.rand(90 + 40 * i, 3, generator=generator) - 0.5) * 0.15 for i in range(count)]
    if "voxels" in model.inputs.names:
        made["voxels"] = (torch.rand(count, 1, *model.inputs.grid.shape, generator=generator) < 0.1).float()
    return made


def numbers(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_published_sizes_are_exact(name):
    with torch.device("meta"):
        model = load_teacher(name)
    assert (numbers(model), model.dim) == SIZES[name] and not model.training
    if name == "minkloc++":
        assert len(model.state_dict()) == 166


def test_parts_have_their_published_sizes():
    with torch.device("meta"):
        fused, ada, crica = (load_teacher(name) for name in ("minkloc++", "adafusion", "cricavpr"))
        assert numbers(load_teacher("cricavpr", encoder=False)) == 106_761_665 - 11_027_968
    assert (numbers(fused.cloud), numbers(fused.image)) == (646_122, 2_815_681)
    parts = {
        "v_feature": (112_576, 295_296, 590_592),
        "l_feature": (28_576, 387_328, 664_064),
        "v_attention_pos": (13_848, 27_672, 27_672),
        "v_attention_chn": (1_040, 2_064, 2_064),
        "l_attention_pos": (20_760, 41_496, 82_968),
        "l_attention_chn": (528, 1_040, 2_064),
    }
    for part, sizes in parts.items():
        assert tuple(numbers(getattr(ada, f"{part}{i}")) for i in (1, 2, 3)) == sizes
    assert numbers(ada.v_atten_fusion) == numbers(ada.l_atten_fusion) == 12_672
    assert numbers(ada.vl_atten_fusion) == 18_594
    adapters = sum(numbers(block.adapter) for block in crica.backbone.blocks)
    assert adapters == 9_153_216 and numbers(crica.encoder) == 11_027_968 and numbers(crica.aggregator) == 1
    assert numbers(crica.backbone) - adapters + numbers(crica.norm) == 86_580_480


def test_full_size_maps_have_their_published_shapes():
    ada = load_teacher("adafusion")
    seen = {}
    for name in (
        "v_feature1",
        "v_feature2",
        "v_feature3",
        "l_feature1",
        "l_feature2",
        "l_feature3",
        "v_attention_pos3",
    ):
        getattr(ada, name).register_forward_hook(lambda m, i, out, name=name: seen.update({name: tuple(out.shape[1:])}))
    trunk = load_teacher("minkloc++-image").image.trunk
    with torch.inference_mode():
        assert ada(torch.randn(1, 3, 300, 400), voxels=torch.zeros(1, 1, 72, 72, 48)).shape == (1, 256)
        assert trunk(torch.zeros(1, 3, 240, 320)).shape == (1, 256, 15, 20)
    assert seen == {
        "v_feature1": (64, 75, 100),
        "v_feature2": (128, 37, 50),
        "v_feature3": (128, 18, 25),
        "l_feature1": (32, 36, 36, 24),
        "l_feature2": (64, 18, 18, 12),
        "l_feature3": (128, 9, 9, 6),
        "v_attention_pos3": (16, 18, 25),
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_equals_its_samples_one_by_one(name):
    model = small(name, **({"encoder": False} if name == "cricavpr" else {}))
    given = batch(model)
    with torch.inference_mode():
        whole = model.heads(**given)
        assert whole["final"].shape == (3, model.dim) and whole["final"].std(0).max() > 1e-3
        for i in range(3):
            alone = model.heads(**{key: value[i : i + 1] for key, value in given.items()})
            for head in whole:
                assert (alone[head][0] - whole[head][i]).abs().max() < 2e-5 * whole[head].abs().max()
        assert torch.equal(model(**given), whole["final"])


def test_heads_of_the_fused_network():
    model = small("minkloc++")
    heads = model.heads(**batch(model))
    assert {k: tuple(v.shape) for k, v in heads.items()} == {"final": (3, 22), "cloud": (3, 12), "image": (3, 10)}
    assert torch.equal(heads["final"], torch.cat([heads["cloud"], heads["image"]], 1))
    assert list(small("minkloc++-cloud").heads(**batch(small("minkloc++-cloud")))) == ["final"]
    with pytest.raises(VprError, match="needs `clouds`"):
        model(batch(model)["images"])


def test_cricavpr_with_its_encoder_depends_on_the_other_images():
    with_encoder, without = small("cricavpr"), small("cricavpr", encoder=False)
    images = batch(without, 4)["images"]
    with torch.inference_mode():
        for model, depends in ((with_encoder, True), (without, False)):
            whole, pair, turned = model(images), model(images[:2]), model(images.flip(0)).flip(0)
            moved = (whole[:2] - pair).abs().max()
            assert (moved > 1e-3) if depends else (moved < 1e-6)
            # membership matters, order does not
            assert (whole - turned).abs().max() < 1e-6
            assert (whole.norm(dim=1) - 1).abs().max() < 1e-5


# What batch norm takes off again in training: a shift right before it has no gradient but for rounding.
SHIFTS = ("adapter.mix.bias", "adapter.spread3.bias", "adapter.spread5.bias", "atten_fusion.0.bias")


def unchanged_after_a_step(model):
    model.train()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad and not key.endswith(SHIFTS)}
    before = {key: p.detach().clone() for key, p in trained.items()}
    optimiser = torch.optim.SGD(trained.values(), lr=1.0)
    final = model(**batch(model, 4))
    (
        (final * torch.randn(final.shape, generator=torch.Generator().manual_seed(2))).sum() / final.detach().norm()
    ).backward()
    optimiser.step()
    return {key for key, p in trained.items() if torch.equal(p, before[key])}


@pytest.mark.parametrize("name", NETWORKS)
def test_one_training_step_changes_every_trained_parameter(name):
    assert unchanged_after_a_step(small(name)) == set()


def test_detached_features_are_never_trained():
    """The released AdaFusion pools detached maps: same output, and no gradient for any of its feature stages."""
    attached, detached = small("adafusion"), small("adafusion", detach_features=True)
    with torch.inference_mode():
        assert torch.equal(attached(**batch(attached)), detached(**batch(detached)))
    stuck = unchanged_after_a_step(detached)
    features = {key for key, _ in detached.named_parameters() if key.startswith(("v_feature", "l_feature"))}
    assert stuck == features and len(features) == 44
    assert unchanged_after_a_step(attached) == set()


@pytest.mark.parametrize("name", NETWORKS)
def test_reduced_precision_stays_close_and_gives_float32(name):
    model = small(name)
    given = batch(model)
    with torch.inference_mode():
        exact = model(**given)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(**given)
    assert rough.dtype == torch.float32 and 0 < (rough - exact).abs().max() < 0.1 * exact.abs().max()


def test_adafusion_trains_on_a_batch_of_one():
    model = small("adafusion").train()
    final = model(**batch(model, 1))
    final.sum().backward()
    assert final.shape == (1, 20) and model.v_feature1[0].weight.grad.abs().max() > 0


def test_attentions_and_poolings_equal_loops():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4, 3)
    pool = GeM(2.3)
    expected = np.stack([naive.gem(list(one.flatten(1).T.double().numpy()), 2.3) for one in x])
    assert np.abs(pool(x).detach().numpy() - expected).max() < 1e-5
    clouds = [torch.rand(n, 3) for n in (30, 1, 55)]
    voxels = voxelise(clouds, 0.2)
    features = voxels.replace(torch.randn(len(voxels.features), 6))
    rows = [features.features[voxels.coordinates.batch == i].double().numpy() for i in range(3)]
    pooled = SparseGeM(backend("torch"))(features).detach().numpy()
    assert np.abs(pooled - np.stack([naive.gem(list(r), 3.0) for r in rows])).max() < 1e-5
    attention = EfficientChannelAttention(6, backend("torch"))
    scaled = attention(features).features.detach()
    weight = attention.conv.weight.detach().double().numpy()[0, 0]
    for i, r in enumerate(rows):
        scale = naive.channel_attention(r.mean(0), weight)
        assert np.abs(scaled[voxels.coordinates.batch == i].numpy() - r * scale).max() < 1e-5
    assert [attention_kernel(c) for c in (8, 16, 32, 64, 128, 256)] == [3, 3, 3, 3, 5, 5]
    assert all(attention_kernel(c) % 2 for c in range(1, 513))


@pytest.mark.parametrize("space", [(5, 4), (3, 4, 2)])
def test_dense_attentions_look_at_everything_of_their_own_sample(space):
    torch.manual_seed(0)
    axes, x = len(space), torch.randn(2, 6, *space)
    position, channel = PositionAttention(6, 2, axes), ChannelAttention(6, axes)
    assert position(x).shape == (2, 16, *(math.ceil(n / 2) for n in space)) and channel(x).shape == (2, 16, *space)
    other = x.clone()
    other[0, :, -1] += 1  # far from the first position of the first sample
    first = (slice(None), *(0 for _ in space))
    for layer in (position, channel):
        moved = (layer(x) - layer(other)).abs()
        assert moved[0][first].max() > 1e-6 and moved[1].max() == 0


@pytest.mark.parametrize(
    ("cuts", "grid"), [("fixed", (16, 16)), ("fixed", (13, 19)), ("scaled", (8, 8)), ("scaled", (5, 24))]
)
def test_regions_equal_loops(cuts, grid):
    torch.manual_seed(0)
    patches, pooling = torch.randn(2, grid[0] * grid[1], 7), RegionPooling(cuts)
    got = pooling(patches, grid).detach()
    for i in range(2):
        if cuts == "fixed":
            expected = naive.cricavpr_cells(patches[i], grid, 3.0, ((0, 8), (0, 5, 11)))
        else:
            # the cuts in each direction by themselves: pool a map whose other direction is cut there too
            rows, cols = ((round(8 * n / 16), round(5 * n / 16), round(11 * n / 16)) for n in grid)
            expected = scaled_cells(patches[i], grid, rows, cols)
        assert (got[i] - torch.stack(expected)).abs().max() < 1e-5


def scaled_cells(patches, grid, rows, cols):
    out = []
    for down, along in (
        ((0, rows[0], grid[0]), (0, cols[0], grid[1])),
        ((0, *rows[1:], grid[0]), (0, *cols[1:], grid[1])),
    ):
        for top, bottom in zip(down, down[1:], strict=False):
            for left, right in zip(along, along[1:], strict=False):
                inside = [patches[r * grid[1] + c].double() for r in range(top, bottom) for c in range(left, right)]
                out.append(torch.from_numpy(naive.gem([(v / v.norm()).numpy() for v in inside], 3.0)))
    return out


def test_maps_too_small_for_the_fixed_regions_are_refused():
    with pytest.raises(VprError, match="8x8 is too small for CricaVPR's fixed regions"):
        RegionPooling("fixed")(torch.randn(1, 64, 4), (8, 8))
    with pytest.raises(VprError, match="scaled"):
        RegionPooling("scaled")(torch.randn(1, 4, 4), (2, 2))


def test_sparse_convolutions_start_as_kaiming_normal_fan_out():
    torch.manual_seed(0)
    seen = 0
    for name, layer in load_teacher("minkloc++-cloud").cloud.named_modules():
        if isinstance(layer, SparseConv) and layer.kernel.numel() > 2000:
            fan_out = (layer.kernel.shape[0] if layer.kernel.ndim == 3 else 1) * layer.kernel.shape[-1]
            assert layer.kernel.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05), name
            assert layer.kernel.abs().max() > 3 * layer.kernel.std(), name  # normal, not uniform
            seen += 1
        if isinstance(layer, SparseConvTranspose):
            bound = 1 / math.sqrt(8 * 256)
            assert layer.kernel.abs().max() <= bound and layer.kernel.std().item() == pytest.approx(
                bound / 3**0.5, rel=0.02
            )
            seen += 1
    assert seen == 14


def test_nothing_is_downloaded_when_a_teacher_is_made(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for name in NETWORKS:
        load_teacher(name, **SMALL[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_teachers_come_back_with_their_options(tmp_path, name):
    model = small(name)
    save_teacher(tmp_path / "t.safetensors", model, {"epochs": 3})
    back = load_teacher(name, tmp_path / "t.safetensors")
    assert back.inputs == model.inputs and back.made_as == model.made_as and not back.training
    with torch.inference_mode():
        assert torch.equal(back(**batch(back)), model(**batch(model)))
    other = next(n for n in NETWORKS if n != name)
    with pytest.raises(VprError, match="is a checkpoint of teacher"):
        load_teacher(other, tmp_path / "t.safetensors")


def test_options_given_replace_stored_ones(tmp_path):
    model = small("minkloc++-cloud", voxel_size=0.05)
    save_teacher(tmp_path / "t.safetensors", model)
    assert load_teacher("minkloc++-cloud", tmp_path / "t.safetensors").inputs.voxel_size == 0.05
    changed = load_teacher("minkloc++-cloud", tmp_path / "t.safetensors", voxel_size=0.1, cloud_points=40)
    assert changed.inputs.voxel_size == changed.cloud.voxel_size == 0.1 and changed.inputs.cloud_points == 40
    with pytest.raises(VprError, match="of another shape"):
        load_teacher("minkloc++-cloud", tmp_path / "t.safetensors", dim=8)


def test_teachers_can_be_copied_and_sent_to_processes():
    for name in NETWORKS:
        model = small(name)
        given = batch(model)
        with torch.inference_mode():
            expected = model(**given)
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            with torch.inference_mode():
                assert (other(**given) - expected).abs().max() < 1e-6 * expected.abs().max()


def test_image_branches_start_from_an_imagenet_classifier(tmp_path):
    import timm

    classifier = timm.create_model("resnet18", pretrained=False)
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    model = load_teacher("minkloc++-image", imagenet=tmp_path / "resnet18.pth")
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        x = classifier.eval().maxpool(F.relu(classifier.bn1(classifier.conv1(images))))
        expected = classifier.layer3(classifier.layer2(classifier.layer1(x)))
        assert (model.image.trunk(images) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert "imagenet" not in model.made_as[1]
    for depth, words in ((34, "entries are missing: layer1.2"), (50, "depth 50 is not known")):
        with pytest.raises(VprError, match=words):
            load_teacher("distilvpr-resnet18", image_depth=depth, imagenet=tmp_path / "resnet18.pth")


def test_cricavpr_starts_from_a_dinov2_backbone(tmp_path):
    options = {**SMALL["cricavpr"], "position_grid": (37, 37)}
    state = {
        key.removeprefix("backbone."): value
        for key, value in published.filled(published.cricavpr_table(64, 2, 48)).items()
        if key.startswith("backbone.") and ".adapter." not in key
    }
    torch.save(state, tmp_path / "dinov2.pth")
    model = load_teacher("cricavpr", dinov2=tmp_path / "dinov2.pth", **options)
    assert torch.equal(model.norm.bias, state["norm.bias"])
    assert torch.equal(model.backbone.blocks[1].attn.qkv.weight, state["blocks.1.attn.qkv.weight"])
    # adapters start as the zero function
    assert model.backbone.blocks[0].adapter.up.weight.abs().max() == 0
    del state["mask_token"]  # as timm stores it
    torch.save(state, tmp_path / "timm.pth")
    assert load_teacher("cricavpr", dinov2=tmp_path / "timm.pth", **options).norm.bias.equal(state["norm.bias"])
    state["register_tokens"] = torch.zeros(1, 4, 64)
    del state["norm.weight"]
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(VprError, match="missing: norm.weight; 1 entries are unexpected: backbone.register_tokens"):
        load_teacher("cricavpr", dinov2=tmp_path / "bad.pth", **options)


def test_wrong_names_and_options_get_one_sentence(tmp_path):
    for name, options, words in (
        ("minkloc", {}, r"no teacher 'minkloc': choose one of minkloc\+\+, "),
        ("adafusion", {"imagenet": "x"}, "'adafusion' has no option imagenet: it has detach_features, "),
        ("adafusion", {"image_size": (8, 8)}, "at least 16x16"),
        ("minkloc++", {"sparse": "spconv"}, 'no sparse convolution backend "spconv"'),
        ("cricavpr", {"cuts": "round"}, "choose one of fixed, scaled"),
        ("cricavpr", {"image_size": (100, 112)}, "multiples of 14"),
    ):
        with pytest.raises(VprError, match=words):
            load_teacher(name, **options)
    with pytest.raises(VprError, match="made by load_teacher"):
        model = small("adafusion")
        model.made_as = None
        save_teacher(tmp_path / "x", model)
    with pytest.raises(VprError, match="is a vpr_ros.student checkpoint"):
        load_teacher("adafusion", Path(__file__).parents[3] / "vpr_ros" / "weights" / "nano.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_one_training_step_at_the_published_size(name):
    """Forward, backward and step on a batch of two at full size; every trained parameter has a gradient."""
    model = load_teacher(name).train()
    given = {}
    if model.inputs.image_size is not None:
        given["images"] = torch.randn(2, 3, *model.inputs.image_size)
    if model.inputs.voxel_size is not None:
        given["clouds"] = [torch.rand(4096, 3) * 2 - 1 for _ in range(2)]
    if model.inputs.grid is not None:
        given["voxels"] = (torch.rand(2, 1, *model.inputs.grid.shape) < 0.05).float()
    final = model(**given)
    loss = (final[0] - final[1]).norm()
    loss.backward()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert final.shape == (2, model.dim) and all(p.grad is not None for p in trained.values())
    before = {key: p.detach().clone() for key, p in trained.items()}
    torch.optim.Adam(trained.values(), lr=1e-3).step()
    same = {key for key, p in trained.items() if torch.equal(p, before[key])}
    # an adapter starts as the zero function, so its first step moves its last layer alone
    assert {key for key in same if ".adapter." not in key or ".up." in key} == set()
