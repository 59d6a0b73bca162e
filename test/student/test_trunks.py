"""Students on a timm trunk: what they compute at their start, and what is refused."""

import json

import naive_student as naive
import pytest
import torch
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.student import CONFIGS, D2VPR, LITE0, NANO, SMALL, StudentConfig
from vpr_ros.student.aggregator import Aggregator, FixedRegions
from vpr_ros.student.regions import RegionGrid, paper_regions
from vpr_ros.student.trunks.features import Trunk, stages_of

SMALL_OF_MEDIUM = [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]  # as published
LITE = LITE0.replace(image_size=(96, 128), stages=(4,), dim=112, global_pooling="gem", global_weight=0.3)
SLIM = LITE0.replace(
    name="slim",
    backbone="mobilenetv3_small_050",
    image_size=(64, 96),
    stages=(1,),
    dim=16,
    global_stage=4,
    global_dim=48,
)


def images(count=2, size=(96, 128), seed=0):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def shaken(model, scale=0.1):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * scale)
    return model


def test_start_is_cells_of_the_map_joined_and_a_global_vector():
    torch.manual_seed(0)
    model, x = D2VPR(LITE).eval(), images()
    with torch.inference_mode():
        found, maps = model(x), model.backbone.maps(x)
    for image in range(2):
        cells = []
        for side in (4, 6):
            pooled = F.adaptive_avg_pool2d(maps[4][image], side).flatten(1).T
            cells += [cell / cell.norm() for cell in pooled]
        local = torch.cat(cells) / len(cells) ** 0.5
        whole = maps[6][image].clamp(min=1e-6).pow(3).mean((1, 2)).pow(1 / 3)
        expected = torch.cat([0.7**0.5 * local, 0.3**0.5 * whole / whole.norm()])
        torch.testing.assert_close(found[image], expected, atol=1e-5, rtol=1e-4)
    assert found.shape[1] == LITE.descriptor_dim == sum(LITE.raw_parts) == 52 * 112 + 320
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("grid", [(14, 14), (12, 12), (10, 13), (3, 20), (1, 1)])
@pytest.mark.parametrize("regions", [(4, 6), (1, 2, 5)])
def test_cells_are_those_of_adaptive_pooling_on_every_map(grid, regions):
    pooled = FixedRegions(SMALL.replace(dim=6, regions=regions, pooling="mean", whole_region=False))
    tokens = torch.randn(2, 1 + grid[0] * grid[1], 6)
    maps = tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
    expected = torch.cat([F.adaptive_avg_pool2d(maps, side).flatten(2) for side in regions], 2).transpose(1, 2)
    torch.testing.assert_close(pooled(tokens, grid), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"regions": (2, 3)}, {"regions": (1, 2, 5), "whole_region": True}])
@pytest.mark.parametrize("pooling", ["mean", "gem", "signed"])
def test_an_untrained_deformable_aggregator_is_the_fixed_one(changes, pooling):
    torch.manual_seed(0)
    config = SLIM.replace(pooling=pooling, **changes)
    deformable, fixed = D2VPR(config).eval(), D2VPR(config.replace(aggregator="fixed")).eval()
    fixed.load_state_dict({key: deformable.state_dict()[key] for key in fixed.state_dict()})
    x = images(size=(64, 96))
    with torch.inference_mode():
        assert (deformable(x) - fixed(x)).abs().max() < 1e-5
        shaken(deformable.aggregator)
        assert (deformable(x) - fixed(x)).abs().max() > 1e-3


def test_two_levels_have_the_papers_neighbours_and_names():
    assert RegionGrid(paper_regions(8, (5, 6, 5)), (2, 3)).neighbours(0).tolist() == SMALL_OF_MEDIUM
    small = Aggregator(SMALL.replace(dim=8))
    assert small.fusions == ["small_to_medium", "medium_to_global"]
    assert Aggregator(SMALL.replace(dim=8, regions=(1, 2, 3), whole_region=False)).fusions == [
        "level2_to_level1",
        "level1_to_level0",
    ]
    cells = Aggregator(SLIM.replace(dim=8)).geometry(torch.zeros(1, 144, 8), (12, 12))
    assert cells.neighbours(0).shape == (16, 4)
    assert cells.neighbours(0)[[0, 5, 15]].tolist() == [[0, 1, 6, 7], [7, 8, 13, 14], [28, 29, 34, 35]]


def test_three_levels_are_fused_from_the_finest_upwards():
    config = SMALL.replace(
        dim=6, offset_hidden=5, fusion_hidden=7, position_hidden=5, regions=(1, 2, 3), pooling="mean"
    )
    aggregator = shaken(Aggregator(config), 0.3).eval().double()
    tokens = torch.randn(1, 1 + 7 * 9, 6, dtype=torch.float64)
    geometry = aggregator.geometry(tokens, (7, 9))
    with torch.no_grad():
        found = aggregator(tokens, (7, 9))[0]
        patches = tokens[:, 1:]
        points = aggregator.deform(aggregator.read_field(aggregator.offsets(patches, tokens[:, 0]), (7, 9)), geometry)[
            0
        ]
        image = patches[0].T.reshape(6, 7, 9)
        owner = (geometry.average > 0).double().argmax(0)
        regions = [
            torch.stack([naive.read(image, x * 8, y * 6) for x, y in points[owner == r].tolist()]).mean(0)
            for r in range(14)
        ]
        centres = {k: [((c + 0.5) / k, (r + 0.5) / k) for r in range(k) for c in range(k)] for k in (1, 2, 3)}

        def near(at, side):
            order = sorted(
                range(side * side), key=lambda i: sum((a - b) ** 2 for a, b in zip(centres[side][i], at, strict=True))
            )
            return order[:4]

        one, four, nine = regions[:1], regions[1:5], regions[5:]
        four = [
            v + aggregator.level2_to_level1(sum(nine[i] for i in near(centres[2][k], 3)) / 4)
            for k, v in enumerate(four)
        ]
        one = [one[0] + aggregator.level1_to_level0(sum(four[i] for i in near(centres[1][0], 2)) / 4)]
        whole = tokens[0, 0] + aggregator.level0_to_global(one[0])
        rows = [torch.tensor([0.5, 0.5, 1.0, 1.0], dtype=torch.float64)]
        for r in range(14):
            own = points[owner == r]
            rows.append(torch.cat([own.mean(0), own.amax(0) - own.amin(0)]))
        expected = torch.stack([whole, *one, *four, *nine]) + aggregator.position(torch.stack(rows))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-6)


def test_stages_of_other_grids_come_onto_the_first():
    torch.manual_seed(0)
    config = LITE.replace(stages=(4, 2, 6), dim=112 + 40 + 320, aggregator="fixed")
    trunk = Trunk(config).eval()
    with torch.inference_mode():
        tapped, grid, last = trunk(images())
        maps = trunk.maps(images())
    assert grid == (6, 8) and [t.shape[2] for t in tapped] == [112, 40, 320] and torch.equal(last, maps[6])
    fine = maps[2].unflatten(2, (6, 2)).unflatten(4, (8, 2)).mean((3, 5))  # halving is the mean of two by two
    for tokens, one in zip(tapped, (maps[4], fine), strict=False):
        torch.testing.assert_close(tokens[:, 1:], one.flatten(2).transpose(1, 2), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(tokens[:, 0], one.mean((2, 3)), atol=1e-5, rtol=1e-4)


def test_nothing_after_the_last_stage_needed_is_there():
    local = LITE.replace(global_stage=None, global_dim=0)
    with torch.device("meta"):
        lengths = [len(D2VPR(config).backbone.blocks) for config in (LITE, local)]
        parameters = sum(p.numel() for p in D2VPR(local).backbone.parameters())
    assert lengths == [7, 5] and 0.6e6 < parameters < 0.75e6
    assert local.raw_parts == (52 * 112,) and local.part_weights == (1.0,)


def test_any_timm_network_with_feature_maps_is_a_trunk():
    assert [stage.stride for stage in stages_of("resnet18")] == [2, 4, 8, 16, 32]
    config = LITE0.replace(
        backbone="resnet18", image_size=(64, 96), stages=(3, 2), dim=384, global_stage=4, global_dim=512
    )
    torch.manual_seed(0)
    model = D2VPR(config).eval()
    with torch.inference_mode():
        maps, found = model.backbone.maps(images(size=(64, 96))), model(images(size=(64, 96)))
    assert [maps[stage].shape[1:] for stage in (2, 3, 4)] == [(128, 8, 12), (256, 4, 6), (512, 2, 3)]
    assert found.shape == (2, 52 * 384 + 512)
    lifted = D2VPR(config.replace(recovery="lift", dim=24)).eval()
    assert lifted(images(size=(64, 96))).shape == (2, 52 * 24 + 512)


def test_batch_norms_stay_as_they_were_learned_while_all_else_is_trained():
    model = D2VPR(SLIM).eval()
    with torch.inference_mode():
        model(images(3, (64, 96)))  # what is kept for inference must not be in the way
    model.train()
    assert not any(m.training for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    target = F.normalize(torch.randn(3, SLIM.descriptor_dim), dim=1)
    for _ in range(3):
        optimiser.zero_grad()
        (model(images(3, (64, 96))) - target).square().sum().backward()
        optimiser.step()
    after = model.state_dict()
    still = [key for key in before if torch.equal(before[key], after[key])]
    assert still and all("running_" in key or key.endswith("num_batches_tracked") for key in still), still


def test_reduced_precision_stays_close():
    torch.manual_seed(0)
    model, x = D2VPR(SLIM).eval(), images(size=(64, 96))
    with torch.inference_mode():
        exact = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(x)
    assert rough.dtype == torch.float32 and ((exact * rough).sum(1) > 0.98).all() and not torch.equal(exact, rough)


def test_region_weights_scale_whole_regions():
    torch.manual_seed(0)
    config = SLIM.replace(regions=(2, 4), global_stage=None, global_dim=0)
    model = D2VPR(config).eval()
    with torch.no_grad():
        before = model(images(size=(64, 96))).unflatten(1, (20, 16))
        model.region_weights[:4] = 2
        model.region_weights[4:] = torch.linspace(0, 1, 16)
        after = model(images(size=(64, 96))).unflatten(1, (20, 16))
    scaled = before * model.region_weights.detach()[:, None]
    torch.testing.assert_close(after, scaled / scaled.flatten(1).norm(dim=1)[:, None, None])


@pytest.mark.parametrize(
    "base,changes,words",
    [
        (LITE0, dict(image_size=(224, 240)), "multiples of 32"),
        (LITE0, dict(image_size=(224, 232), global_stage=None, global_dim=0), "multiples of 16"),
        (LITE0, dict(backbone="nosuchnet"), "no network of timm"),
        (LITE0, dict(stages=(4, 9)), "no stage 9"),
        (LITE0, dict(dim=100), "80 channels"),
        (LITE0, dict(global_dim=64), "320 channels"),
        (LITE0, dict(global_dim=0), "given together"),
        (LITE0, dict(global_weight=1.0), "between 0 and 1"),
        (LITE0, dict(stages=()), "must name different stages"),
        (LITE0, dict(reading="paper"), "needs 'corrected'"),
        (LITE0, dict(taps=(1, 2), adapter_width=32), "adapter_width, taps is for the transformer"),
        (LITE0, dict(regions=(6, 4)), "ascend"),
        (LITE0, dict(input_std=(1.0, 0.0, 1.0)), "above 0"),
        (NANO, dict(stages=(1,)), "for a timm backbone"),
        (NANO, dict(global_stage=1, global_dim=3), "for a timm backbone"),
        (NANO, dict(recovery="residual"), "dim cannot be 96"),
        (NANO, dict(pooling="median"), "choose one of gem, signed, mean"),
    ],
)
def test_mixes_that_make_no_sense_get_a_sentence(base, changes, words):
    with pytest.raises(VprError, match=words) as error, torch.device("meta"):
        D2VPR(base.replace(**changes))
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_images_of_another_size_are_refused_by_a_sentence():
    model = D2VPR(SLIM).eval()
    with pytest.raises(
        VprError, match="60x96 does not work with mobilenetv3_small_050: both sides must be multiples of"
    ):
        model(images(size=(60, 96)))


def test_only_what_was_changed_of_the_added_fields_is_stored():
    for config in (SMALL, NANO):
        assert not {"backbone", "regions", "input_mean", "aggregator"} & set(config.to_stored())
    for config in (*CONFIGS.values(), NANO.replace(aggregator="fixed", regions=(2, 4))):
        assert StudentConfig.from_dict(json.loads(json.dumps(config.to_stored()))) == config
