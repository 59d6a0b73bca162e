import json
import os

import naive_student as naive
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F

from vpr_ros.errors import FrameError, VprError
from vpr_ros.student import (
    D2VPR,
    NANO,
    SMALL,
    DescriptorExtractor,
    Projection,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from vpr_ros.student.catalogue.fetching import import_file
from vpr_ros.student.published import from_d2vpr
from vpr_ros.tensor_files import fill

TINY = NANO.replace(
    name="tiny", image_size=(56, 56), width=32, depth=2, heads=2, taps=(1, 2), dim=12, position_grid=(4, 4)
)


def tiny_model(seed=0, **changes):
    torch.manual_seed(seed)
    model = D2VPR(TINY.replace(**changes))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return model.eval()


def tiny_projection(dim=5, whiten=1.0):
    rng = np.random.default_rng(0)
    return Projection(rng.normal(size=168).astype("f") * 0.01, rng.normal(size=(168, dim)).astype("f"), whiten)


def test_round_trip_keeps_everything(tmp_path):
    model, projection = tiny_model(), tiny_projection()
    path = tmp_path / "new" / "t.safetensors"
    fingerprint = save_checkpoint(path, model, projection, {"source": "cities"}, {"seed": 4})
    read = read_checkpoint(path)
    x = torch.randn(2, 3, 56, 56)
    with torch.inference_mode():
        assert torch.equal(model(x), read.model(x))
    assert read.model.config == model.config and not read.model.training
    assert np.array_equal(read.projection.matrix, projection.matrix) and read.projection.whiten
    assert read.calibration_json == {"source": "cities"} and read.metadata["provenance"] == {"seed": 4}
    assert read.metadata["fingerprint"] == fingerprint and len(fingerprint) == 64
    assert os.listdir(path.parent) == ["t.safetensors"]
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["preprocessing"])["height"] == 56


def test_fingerprint_follows_weights_projection_and_preprocessing_only(tmp_path):
    prints = [
        save_checkpoint(tmp_path / "a", tiny_model()),
        save_checkpoint(tmp_path / "b", tiny_model(1)),
        save_checkpoint(tmp_path / "c", tiny_model(), tiny_projection()),
        save_checkpoint(tmp_path / "d", tiny_model(), tiny_projection(4)),
        save_checkpoint(tmp_path / "e", tiny_model(image_size=(56, 84))),
        save_checkpoint(tmp_path / "f", tiny_model(reading="released")),
    ]
    assert len(set(prints)) == len(prints)
    same = save_checkpoint(tmp_path / "g", tiny_model(name="other"), None, {"calibration": 1}, {"seed": 9})
    assert same == prints[0]
    extractor = DescriptorExtractor.from_checkpoint(tmp_path / "g", precision="bf16", batch_size=3)
    assert extractor.fingerprint == prints[0]


def test_half_storage_is_smaller_and_close(tmp_path):
    model = tiny_model()
    whole = save_checkpoint(tmp_path / "w", model, tiny_projection())
    half = save_checkpoint(tmp_path / "h", model, tiny_projection(), half=True)
    assert whole != half and (tmp_path / "h").stat().st_size < 0.7 * (tmp_path / "w").stat().st_size
    read = read_checkpoint(tmp_path / "h")
    assert read.metadata["fingerprint"] == half
    x = torch.randn(1, 3, 56, 56)
    with torch.inference_mode():
        assert F.cosine_similarity(model(x), read.model(x)).item() > 0.999


def test_published_student_and_the_file_variants(tmp_path):
    state = naive.published_state()
    assert len(state) == 666 and len(naive.published_keys(True)) == 690
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "train.pth")
    read = read_checkpoint(tmp_path / "train.pth")
    model = read.model
    assert model.config.reading == "released" and not model.config.encoder
    assert read.metadata["kind"] == "d2vpr" and not read.metadata["ignored"] and not read.is_initialisation
    # every published number is found again under our names
    ours = sum(v.double().sum() for k, v in model.state_dict().items() if not k.endswith("tracked"))
    assert ours.item() == pytest.approx(
        sum(v.double().sum().item() for k, v in state.items() if not k.endswith("tracked")), abs=1e-6
    )
    assert torch.equal(model.aggregator.offsets.first.weight, state["offset_generator.0.weight"][:, :, 0, 0])
    assert torch.equal(model.recovery.lift.weight, state["backbone.lin.weight"])
    prefix, z = "backbone.blocks.5.adapter.", torch.randn(1, 1 + 12, 384)
    with torch.no_grad():
        expected = naive.published_adapter(state, prefix, z[0], (3, 4))
        assert (model.backbone.blocks[5].adapter(z, (3, 4))[0] - expected).abs().max() < 1e-4 * expected.abs().max()


def test_published_encoder_is_recognised_and_refused_at_runtime(tmp_path):
    torch.save(naive.published_state(True), tmp_path / "finetune.pth")
    model = load_checkpoint(tmp_path / "finetune.pth")
    assert model.config.encoder and sum(p.numel() for p in model.parameters()) == 38_239_589
    with pytest.raises(VprError, match="other images of its batch"):
        DescriptorExtractor(model)
    assert DescriptorExtractor(model, allow_batch_dependence=True).dim == 10752


def test_published_student_is_strict(tmp_path):
    state = naive.published_state()
    with torch.device("meta"):
        model = D2VPR(SMALL.replace(reading="released"))
    for change, words in (
        ({"backbone.lin.bias": None}, "1 entries are missing: recovery.lift.bias"),
        ({"backbone.zzz": torch.zeros(1)}, "unexpected: backbone.zzz"),
        ({"backbone.blocks.2.adapter.branch2.0.bn.bias": None}, "missing: backbone.blocks.2.adapter.mix_norm.bias"),
        ({"backbone.up_norm.weight": torch.zeros(3)}, "another shape: recovery.norm.weight"),
    ):
        changed = {key: value for key, value in {**state, **change}.items() if value is not None}
        with pytest.raises(VprError, match=words):
            fill(model, from_d2vpr(changed), "x.pth", "d2vpr student")
    del state["backbone.lin.bias"]
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(VprError, match="x.safetensors does not fit the d2vpr student"):
        load_checkpoint(tmp_path / "x.safetensors")


def dinov2_state():
    state = {k.removeprefix("backbone."): v for k, v in naive.published_state().items() if k.startswith("backbone.")}
    state = {k: v for k, v in state.items() if ".adapter." not in k and not k.startswith(("lin.", "up_norm."))}
    return state | {"norm.weight": torch.ones(384), "norm.bias": torch.zeros(384)}


def test_dinov2_initialises_and_names_what_is_left(tmp_path):
    state = dinov2_state()
    assert len(state) == 175
    torch.save(state, tmp_path / "dinov2.pth")
    read = read_checkpoint(tmp_path / "dinov2.pth")
    assert read.metadata["ignored"] == ["norm.weight", "norm.bias"] and read.model.config == SMALL
    assert {"recovery.lift.weight", "backbone.blocks.0.adapter.up.weight", "aggregator.p"} <= set(
        read.metadata["fresh"]
    )
    assert torch.equal(read.model.backbone.blocks[7].mlp.fc1.weight, state["blocks.7.mlp.fc1.weight"])
    import_file(tmp_path / "dinov2.pth", tmp_path / "init.safetensors")
    with pytest.raises(VprError, match="initialisation"):
        DescriptorExtractor.from_checkpoint(tmp_path / "init.safetensors")
    assert torch.equal(load_checkpoint(tmp_path / "init.safetensors").backbone.pos_embed, state["pos_embed"])
    with pytest.raises(VprError, match="already"):
        import_file(tmp_path / "init.safetensors", tmp_path / "again.safetensors")


def test_timm_names_register_models_and_incomplete_backbones(tmp_path):
    import timm

    vit = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0)
    state = {k: v.contiguous() for k, v in vit.state_dict().items()}
    save_file(state, tmp_path / "timm.safetensors")
    read = read_checkpoint(tmp_path / "timm.safetensors")
    assert "backbone.mask_token" in read.metadata["fresh"] and set(read.metadata["ignored"]) == {
        "norm.weight",
        "norm.bias",
    }
    save_file({**state, "reg_token": torch.zeros(1, 4, 384)}, tmp_path / "reg.safetensors")
    with pytest.raises(VprError, match="registers"):
        read_checkpoint(tmp_path / "reg.safetensors")
    del state["blocks.3.norm1.bias"]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(VprError, match="backbone.blocks.3.norm1.bias"):
        read_checkpoint(tmp_path / "less.safetensors")


class NotTensors:
    pass


def test_wrong_files_get_one_sentence(tmp_path):
    good = tmp_path / "good.safetensors"
    save_checkpoint(good, tiny_model())
    content = good.read_bytes()
    torch.save({"model_state_dict": {"a": torch.zeros(40000)}}, tmp_path / "torch.pth")
    pickled = (tmp_path / "torch.pth").read_bytes()
    torch.save({"a": NotTensors()}, tmp_path / "objects.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(
        {"backbone.blocks.0.adapter.D_fc1.bias": torch.zeros(2), "aggregation.1.p": torch.zeros(1)},
        tmp_path / "crica.pth",
    )
    damaged = bytearray(content)
    damaged[-100] ^= 64
    cases = {
        "empty": (b"", "is empty"),
        "html": (b"\n<!DOCTYPE html><html>", "web page"),
        "text": (b"hello there, no weights", "not a checkpoint"),
        "cut.safetensors": (content[: len(content) // 2], "truncated or damaged"),
        "cut2.safetensors": (content[:60], "truncated or damaged"),
        "bits.safetensors": (bytes(damaged), "fingerprint"),
        "cut.pth": (pickled[:50000], "truncated or damaged"),
        "torch.pth": (pickled, "no student, D2-VPR or DINOv2"),
        "objects.pth": (None, "never executed"),
        "list.pth": (None, "holds no weights"),
        "crica.pth": (None, "CricaVPR checkpoint, a teacher"),
        "pickle.pkl": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00garbage", "checkpoint"),
        "newer": (content.replace(b'"schema":"1"', b'"schema":"9"'), "newer vpr_ros"),
        "bare": (content.replace(b'"fingerprint"', b'"fingerprimt"'), "lacks or garbles"),
    }
    for name, (data, words) in cases.items():
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(VprError, match=words) as error:
            read_checkpoint(path)
        sentence = str(error.value)
        assert "\n" not in sentence and sentence.endswith("."), name
    with pytest.raises(VprError, match="there is no checkpoint file"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(VprError, match="cannot write"):
        save_checkpoint(good / "below" / "x.safetensors", tiny_model())


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    sizes = [(120, 160), (56, 56), (40, 30), (300, 97)]
    return [rng.integers(0, 255, (*sizes[i % 4], 3), np.uint8) for i in range(count)]


@pytest.mark.parametrize("projected", [False, True])
def test_describe_any_size_in_any_company(projected):
    extractor = DescriptorExtractor(tiny_model(), tiny_projection() if projected else None, device="cpu", batch_size=4)
    images = pictures(6)
    whole = extractor.describe(images)
    assert whole.shape == (6, 5 if projected else 168) and whole.dtype == np.float16 and extractor.dim == whole.shape[1]
    np.testing.assert_allclose(np.linalg.norm(whole.astype("f"), axis=1), 1, atol=2e-3)
    for i, image in enumerate(images):
        alone = extractor.describe([image])[0]
        assert np.abs(alone.astype("f") - whole[i].astype("f")).max() < 1e-3
        prepared = extractor.prepare(image)
        assert prepared.shape == (56, 56, 3) and np.array_equal(extractor.describe([prepared])[0], alone)
    assert extractor.describe([]).shape == (0, extractor.dim)


def test_describe_is_the_network_on_normalised_pixels():
    model, image = tiny_model(), pictures(2)[1]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.tensor(((image / 255 - mean) / std).transpose(2, 0, 1)[None], dtype=torch.float32)
    expected = model(x).detach().numpy()
    got = DescriptorExtractor(model, device="cpu").describe_raw([image])
    assert np.abs(got - expected).max() < 1e-5


def test_shrinking_averages_pixels():
    extractor = DescriptorExtractor(tiny_model(), device="cpu")
    image = pictures(1)[0][:112, :112]
    blocks = image.reshape(56, 2, 56, 2, 3).mean((1, 3))
    assert np.abs(extractor.prepare(image) - blocks).max() <= 0.5


def test_reduced_precision_stays_close():
    image = pictures(3)
    exact = DescriptorExtractor(tiny_model(), device="cpu").describe_raw(image)
    rough = DescriptorExtractor(tiny_model(), device="cpu", precision="bf16").describe_raw(image)
    assert 0 < np.abs(exact - rough).max() and ((exact * rough).sum(1) > 0.98).all()


def test_bad_images_and_settings():
    extractor = DescriptorExtractor(tiny_model(), device="cpu")
    for bad in (
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        None,
    ):
        with pytest.raises(FrameError):
            extractor.describe([bad])
    for settings in (
        dict(device="gpu7"),
        dict(precision="int3"),
        dict(batch_size=0),
        dict(projection=Projection(np.zeros(3, "f"), np.ones((3, 2), "f"))),
    ):
        with pytest.raises(VprError):
            DescriptorExtractor(tiny_model(), **settings)
    broken = tiny_model()
    with torch.no_grad():
        broken.recovery.lift.bias.fill_(float("nan"))
    with pytest.raises(VprError, match="not finite"):
        DescriptorExtractor(broken, device="cpu").describe(pictures(1))
