import json

import naive_student as naive
import pytest
import torch
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, NANO, SMALL, StudentConfig
from vpr_ros.student.aggregator import Aggregator
from vpr_ros.student.backbone import Backbone
from vpr_ros.student.d2vpr import standardise
from vpr_ros.student.regions import region_table

TINY = NANO.replace(
    name="tiny", image_size=(56, 56), width=32, depth=2, heads=2, taps=(1, 2), dim=12, position_grid=(4, 4)
)


def count(module):
    return sum(p.numel() for p in module.parameters())


def shaken(model, scale=0.1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * scale)
        for name, b in model.named_buffers():
            if name.endswith("running_var"):
                b.copy_(torch.rand(b.shape, generator=generator) + 0.5)
            elif name.endswith("running_mean"):
                b.copy_(torch.randn(b.shape, generator=generator) * 0.1)
    return model


def test_parameter_counts():
    with torch.device("meta"):
        small = D2VPR(SMALL.replace(encoder=True))
    assert count(small) == 38_239_589
    assert count(small) - count(small.encoder) == 27_211_621
    adapters = sum(count(block.adapter) for block in small.backbone.blocks)
    assert adapters == 2_295_648 and count(small.backbone.blocks[0].adapter) == 191_304
    assert count(small.backbone) - adapters == 22_055_808
    assert count(small.recovery) == 1_181_952
    a = small.aggregator
    assert count(a.offsets) == 788_996 and count(a.small_to_medium) + count(a.medium_to_global) == 789_504
    assert a.p.numel() == 1 and count(a.position) == 99_712
    assert count(small.encoder) == 11_027_968


def test_readings_share_the_published_count():
    with torch.device("meta"):
        counts = {
            reading: count(Aggregator(SMALL.replace(reading=reading))) for reading in ("released", "corrected", "paper")
        }
    assert counts["released"] == counts["corrected"] == 1_578_501 + 99_712
    # the paper's position embedding is one linear layer of 4 numbers
    assert counts["paper"] == 1_578_501 + 5 * 768


def test_nano_is_small():
    assert count(D2VPR(NANO)) <= 2_400_000


def test_block_is_timm_plus_adapter_inside_the_second_scale():
    import timm

    config = SMALL.replace(depth=2, taps=(1, 2))
    backbone = shaken(Backbone(config), 0.05).eval()
    vit = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=56, depth=2).eval()
    theirs = {
        k: v for k, v in backbone.state_dict().items() if ".adapter." not in k and k not in ("mask_token", "pos_embed")
    }
    theirs["pos_embed"] = backbone.positions((4, 4)).detach()
    theirs |= {k: v for k, v in vit.state_dict().items() if k.startswith("norm.")}
    vit.load_state_dict(theirs)
    x = torch.randn(2, 3, 56, 56)
    block, grid = vit.blocks[0], (4, 4)
    with torch.no_grad():
        t = vit._pos_embed(vit.patch_embed(x))
        for index, block in enumerate(vit.blocks):
            t = t + block.ls1(block.attn(block.norm1(t)))
            z = block.norm2(t)
            t = t + block.ls2(block.mlp(z) + 0.2 * backbone.blocks[index].adapter(z, grid))
        tapped, _ = backbone(x)
    torch.testing.assert_close(tapped[1], t, atol=2e-5, rtol=1e-5)


def test_adapter_starts_as_zero_function():
    for config in (SMALL.replace(depth=1, taps=(1,)), TINY):
        adapter = Backbone(config).blocks[0].adapter
        assert not adapter(torch.randn(2, 17, config.width), (4, 4)).any()
    assert (Backbone(SMALL.replace(depth=1, taps=(1,))).blocks[0].adapter.spread3.weight == 1e-5).all()


@pytest.mark.parametrize("reading", ["paper", "released", "corrected"])
@pytest.mark.parametrize("grid,samples", [((16, 16), (8, (5, 6, 5))), ((11, 15), (4, (3, 4, 3)))])
def test_aggregator_equals_one_region_at_a_time(reading, grid, samples):
    torch.manual_seed(3)
    config = SMALL.replace(dim=12, offset_hidden=16, fusion_hidden=8, position_hidden=8, reading=reading)
    config = config.replace(medium_samples=samples[0], small_samples=samples[1])
    tokens = torch.randn(1, 1 + grid[0] * grid[1], 12, dtype=torch.float64)
    for pooling in ("gem", "signed") if grid != (16, 16) else ("gem",):
        config = config.replace(pooling=pooling)
        aggregator = shaken(Aggregator(config), 0.2).double().eval()
        aggregator.p.data.fill_(2.7)
        with torch.no_grad():
            ours = aggregator(tokens, grid)[0]
            assert (ours - naive.aggregate(aggregator, config, tokens[0], grid)).abs().max() < 1e-6
            single = Aggregator(config).eval()
            single.load_state_dict(aggregator.state_dict())
            assert (F.normalize(single(tokens.float(), grid)[0]) - F.normalize(ours.float())).abs().max() < 1e-5


def test_corrected_scale_is_one_at_zero_and_released_is_not():
    raw = torch.zeros(1, 512, 4)
    for reading, factor in (("corrected", 1.0), ("released", 1.25)):
        a = Aggregator(SMALL.replace(dim=8, offset_hidden=4, fusion_hidden=4, position_hidden=4, reading=reading))
        moved = a.deform(raw, a.grid)[0]
        expected = (a.grid.centre + factor * a.grid.relative * a.grid.size / 2).clamp(0, 1)
        torch.testing.assert_close(moved, expected)


def test_untrained_corrected_regions_are_undeformed():
    model = D2VPR(TINY)
    tokens = torch.randn(2, 17, 12)
    values = model.aggregator.read_field(model.aggregator.offsets(tokens[:, 1:], tokens[:, 0]), (4, 4))
    torch.testing.assert_close(model.aggregator.deform(values, model.aggregator.grid)[0], model.aggregator.grid.points)


def test_signed_pooling_keeps_negative_features():
    a = Aggregator(TINY)
    samples = -torch.rand(1, len(a.grid.points), 12) - 0.1
    assert (a.pool(samples, a.grid) < -0.01).all()
    torch.testing.assert_close(a.pool(samples, a.grid), -a.pool(-samples, a.grid))


def test_positions_follow_scale_factors_for_released_and_size_otherwise():
    for reading in ("released", "corrected"):
        backbone = shaken(Backbone(SMALL.replace(depth=1, taps=(1,), reading=reading)), 0.1)
        image = backbone.pos_embed[0, 1:].T.reshape(1, 384, 37, 37)
        # bicubic by hand, at one output pixel: weights for a = -0.75 at the sampling step of each reading
        step = 37 / 11.1 if reading == "released" else 37 / 11
        row = (4 + 0.5) * step - 0.5
        col = (6 + 0.5) * (37 / 15.1 if reading == "released" else 37 / 15) - 0.5

        def weights(x):
            base = int(x // 1)
            out = {}
            for k in range(-1, 3):
                d = abs(x - base - k)
                w = (1.25 * d - 2.25) * d * d + 1 if d <= 1 else ((-0.75 * d + 3.75) * d - 6) * d + 3
                out[min(max(base + k, 0), 36)] = out.get(min(max(base + k, 0), 36), 0) + w
            return out

        expected = sum(wr * wc * image[0, :, r, c] for r, wr in weights(row).items() for c, wc in weights(col).items())
        got = backbone.positions((11, 15))[0, 1 + 4 * 15 + 6]
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
        assert backbone.positions((37, 37)) is backbone.pos_embed


def test_positions_are_resampled_from_what_is_stored_now():
    backbone = Backbone(TINY.replace(position_grid=(6, 6)))
    first = backbone.positions((4, 4))
    assert first.requires_grad
    with torch.no_grad():
        backbone.pos_embed.add_(1.0)
    torch.testing.assert_close(backbone.positions((4, 4)), first + 1, atol=1e-5, rtol=0)
    assert backbone.double().positions((4, 4)).dtype == torch.float64


@pytest.mark.parametrize("size", [(154, 210), (224, 224)])
def test_small_runs_on_square_and_other_sizes(size):
    single = D2VPR(SMALL.replace(depth=2, taps=(1, 2)))
    with torch.inference_mode():
        out = single(torch.randn(1, 3, *size))
    assert out.shape == (1, 14 * 768)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(1))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(VprError, match="multiples of 14"):
        D2VPR(TINY)(torch.randn(1, 3, 60, 56))
    for bad in (
        dict(reading="other"),
        dict(image_size=(50, 56)),
        dict(heads=5),
        dict(taps=(1, 9)),
        dict(adapter_width=24),
    ):
        with pytest.raises(VprError):
            TINY.replace(**bad)
    with pytest.raises(VprError, match="unknown fields"):
        StudentConfig.from_dict({**TINY.to_dict(), "later": 1})
    assert StudentConfig.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY


def test_training_after_inference_moves_every_part():
    model = D2VPR(TINY.replace(layer_scale_init=1.0)).eval()
    x = torch.randn(8, 3, 56, 56)
    with torch.inference_mode():
        model(x)
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    target = torch.randn(8, 14 * 12)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    for _ in range(3):
        optimiser.zero_grad()
        (model(x) - target).pow(2).sum().backward()
        optimiser.step()
    still = [key for key, p in model.named_parameters() if p.requires_grad and torch.equal(before[key], p)]
    # batch norm follows these, so a constant added before it changes nothing
    assert all(key.endswith((".mix.bias", ".spread3.bias", ".spread5.bias")) for key in still), still


@pytest.mark.parametrize("how, tolerance", [("image", 1e-4), ("local", 0.02)])
def test_standardised_input_ignores_brightness_and_contrast(how, tolerance):
    model = shaken(D2VPR(TINY.replace(standardise=how)), 0.05).eval()
    x = torch.randn(2, 3, 56, 56)
    with torch.inference_mode():
        assert (model(x) - model(3 * x + 0.7)).abs().max() < tolerance
        assert (model(x) - model(x.flip(0))).abs().max() > 2 * tolerance


def test_local_standardisation_is_the_window_mean_and_deviation():
    x = torch.randn(2, 3, 24, 40, dtype=torch.float64) + torch.linspace(0, 9, 40, dtype=torch.float64)
    got = standardise(x, "local")
    reach_y, reach_x = 24 // 8, 40 // 8

    def window(y, i, j):
        return y[:, :, max(0, i - reach_y) : i + reach_y + 1, max(0, j - reach_x) : j + reach_x + 1].mean(dim=(2, 3))

    places = [(i, j) for i in range(24) for j in range(40)]
    mean = torch.stack([window(x, i, j) for i, j in places], dim=2).reshape(2, 3, 24, 40)
    centred = x - mean
    squares = (centred * centred).mean(dim=1, keepdim=True)
    variance = torch.stack([window(squares, i, j) for i, j in places], dim=2).reshape(2, 1, 24, 40)
    torch.testing.assert_close(got, centred / (variance + 0.02).sqrt())


def test_encoder_attends_over_the_batch():
    model = shaken(D2VPR(TINY.replace(encoder=True)), 0.05).eval()
    x = torch.randn(3, 3, 56, 56)
    with torch.inference_mode():
        regions = model.aggregator(
            model.recovery((tapped := model.backbone(standardise(x, TINY.standardise)))[0]), tapped[1]
        )
        layer = model.encoder.stack.layers[0]
        whole = model(x)
        assert (whole[:1] - model(x[:1])).abs().max() > 1e-4
        assert (whole.flip(0) - model(x.flip(0))).abs().max() < 1e-5
        # attention of the first layer by hand, region by region
        heads, size = model.config.encoder_heads, 12 // model.config.encoder_heads
        expected = []
        for region in range(14):
            one = regions[:, region]
            q, k, v = (F.linear(one, layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias)).chunk(3, dim=1)
            mixed = []
            for h in range(heads):
                part = slice(h * size, (h + 1) * size)
                mixed.append(torch.softmax(q[:, part] @ k[:, part].T / size**0.5, dim=1) @ v[:, part])
            attended = layer.self_attn.out_proj(torch.cat(mixed, 1))
            one = layer.norm1(one + attended)
            expected.append(layer.norm2(one + layer.linear2(F.gelu(layer.linear1(one)))))
        torch.testing.assert_close(layer(regions), torch.stack(expected, 1), atol=1e-5, rtol=1e-4)


def test_ablation_switches_change_only_what_they_name():
    def parts(config):
        with torch.device("meta"):
            model = D2VPR(config)
        return count(model.backbone), count(model.recovery), count(model.aggregator)

    backbone, recovery, aggregator = parts(SMALL)
    last = SMALL.replace(taps=(12,))
    assert parts(last) == (backbone, 384 * 768 + 768 + 2 * 768, aggregator)
    fixed = SMALL.replace(aggregator="fixed")
    assert parts(fixed) == (backbone, recovery, 1), "only the exponent is left"
    assert StudentConfig.from_dict(fixed.to_dict()) == fixed != SMALL
    with pytest.raises(VprError, match="aggregator is 'moving', choose one of deformable, fixed"):
        SMALL.replace(aggregator="moving")


@pytest.mark.parametrize("pooling", ["gem", "signed"])
def test_fixed_regions_are_means_of_the_map_where_they_lie(pooling):
    config = TINY.replace(aggregator="fixed", pooling=pooling)
    regions = D2VPR(config).aggregator
    tokens = torch.randn(2, 1 + 20, config.dim, generator=torch.Generator().manual_seed(3))
    found = regions(tokens, (4, 5))
    assert torch.equal(found[:, 0], tokens[:, 0])
    for b, r in ((0, 0), (1, 3), (1, 8), (0, 12)):
        x1, y1, x2, y2, rows, cols = region_table(config.medium_samples, config.small_samples)[r]
        ups, downs = torch.zeros(config.dim), torch.zeros(config.dim)
        for y in torch.linspace(y1, y2, rows).tolist():
            for x in torch.linspace(x1, x2, cols).tolist():
                v, u = y * 3, x * 4
                i, j = min(int(v), 2), min(int(u), 3)
                corners = ((i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1))
                vector = sum(tokens[b, 1 + 5 * m + n] * (1 - abs(v - m)) * (1 - abs(u - n)) for m, n in corners)
                vector = vector / vector.norm()  # type: ignore[union-attr]
                ups += vector.clamp(min=0) ** 3
                downs += (-vector).clamp(min=0) ** 3
        expected = (ups / (rows * cols)) ** (1 / 3)
        if pooling == "signed":
            expected = expected - (downs / (rows * cols)) ** (1 / 3)
        torch.testing.assert_close(found[b, 1 + r], expected, atol=1e-5, rtol=1e-4)
