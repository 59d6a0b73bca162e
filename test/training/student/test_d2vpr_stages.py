"""Schedules, and what D2-VPR's second stage trains and leaves alone."""

import copy
import math

import pytest
import torch

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, NANO, SMALL
from vpr_ros.training.student.freezing import freeze_statistics, frozen_blocks, trained_parameters
from vpr_ros.training.student.schedules import rate_factor

TINY = NANO.replace(
    name="tiny", image_size=(28, 28), width=16, depth=6, heads=2, taps=(1, 2, 4, 6), dim=8, position_grid=(2, 2)
)


def test_the_released_rate_at_the_end_of_120_epochs():
    steps = 489  # any number gives the same
    rates = [2e-4 * rate_factor("d2vpr-released", n, 120, milestones=(10,))(120 * n - 1) for n in (steps, 7)]
    assert rates == pytest.approx([2e-4 * 120 / 3900] * 2) and f"{rates[0]:.2e}" == "6.15e-06"
    factor = rate_factor("d2vpr-released", steps, 120)
    assert factor(0) == 1 / (3900 * steps) and factor(3900 * steps) == 1.0


def test_factors_step_by_step():
    """Re-derived from what a step of an optimiser would be told, epoch by epoch."""
    steps, epochs = 5, 8
    factor = rate_factor("steps", steps, epochs, milestones=(2, 5), decay=0.3, warmup_fraction=0.1)
    rate, expected = 1.0, []
    for epoch in range(epochs):
        rate *= 0.3 if epoch in (2, 5) else 1.0
        expected += [rate] * steps
    expected[:4] = [0.25, 0.5, 0.75, 1.0]  # a tenth of 40 steps
    assert [factor(step) for step in range(40)] == pytest.approx(expected)
    assert {rate_factor("constant", steps, epochs)(step) for step in range(50)} == {1.0}
    cosine = rate_factor("cosine", steps, epochs, warmup_fraction=0.2)
    assert [cosine(step) for step in range(8)] == pytest.approx([(step + 1) / 8 for step in range(8)])
    for step in range(8, 40):
        assert cosine(step) == pytest.approx(0.01 + 0.99 * math.cos(math.pi * (step - 8) / 64) ** 2)
    assert cosine(40) == cosine(1000) == pytest.approx(0.01)


def test_the_steps_are_those_of_torch():
    steps, epochs = 3, 6
    parameter = torch.nn.Parameter(torch.zeros(1))
    ours, theirs = (torch.optim.SGD([parameter], lr=1e-2) for _ in range(2))
    schedule = torch.optim.lr_scheduler.LambdaLR(ours, rate_factor("steps", steps, epochs, milestones=(1, 4)))
    published = torch.optim.lr_scheduler.MultiStepLR(theirs, [1, 4], 0.1)
    for step in range(steps * epochs):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])
        for each in (ours, theirs):
            each.step()
        schedule.step()
        if step % steps == steps - 1:
            published.step()


def test_schedules_that_are_not():
    with pytest.raises(VprError, match="schedule is 'linear': choose one of cosine"):
        rate_factor("linear", 1, 1)
    with pytest.raises(VprError, match="0 epochs of 3 steps is empty"):
        rate_factor("constant", 3, 0)


@pytest.mark.parametrize("encoder, published", [(False, 10_726_309), (True, 21_754_277)])
def test_published_counts_of_trained_parameters(encoder, published):
    with torch.device("meta"):
        student = D2VPR(SMALL.replace(encoder=encoder))
    assert sum(p.numel() for p in trained_parameters(student, "d2vpr-stage2")) == published
    everything = sum(p.numel() for p in trained_parameters(student, "all"))
    assert everything == 27_211_621 + 11_027_968 * encoder - 384, "all but the unused mask token"


def test_stage_two_trains_by_name():
    """Naive re-derivation: the published list of name parts, on our names for them."""
    student = D2VPR(TINY)
    trained = trained_parameters(student, "d2vpr-stage2")
    parts = ("blocks.4.", "blocks.5.", "recovery", "aggregator", "encoder")
    named = [name for name, p in student.named_parameters() if p.requires_grad]
    assert named == [name for name, _ in student.named_parameters() if any(part in name for part in parts)]
    assert len(named) == len(trained) and any("adapter" in name for name in named)
    assert [frozen_blocks(depth) for depth in (12, 6, 24, 1)] == [8, 4, 16, 0]
    with pytest.raises(VprError, match="trained is 'head': choose one of all, d2vpr-stage2"):
        trained_parameters(student, "head")


def step(student, seed=1):
    """One optimiser step on random images; returns the state before and after."""
    before = copy.deepcopy(student.state_dict())
    optimiser = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-2)
    images = torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(seed)) * 3 + 1
    student.train()
    (student(images) * torch.linspace(-1, 1, student.config.descriptor_dim)).sum().backward()
    optimiser.step()
    return before, student.state_dict()


def is_of_frozen_part(name):
    return not name.startswith(("recovery", "aggregator", "backbone.blocks.4", "backbone.blocks.5"))


@pytest.mark.parametrize("batch_norm", ["frozen", "moving"])
def test_statistics_of_frozen_blocks(batch_norm):
    student = D2VPR(TINY)
    trained_parameters(student, "d2vpr-stage2")
    norms = freeze_statistics(student, batch_norm)
    assert len(norms) == (0 if batch_norm == "moving" else 2 + 2 * 4)  # of the stem and of four adapters
    before, after = step(student)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    statistics = {name for name in before if "running" in name}
    frozen = {name for name in before if is_of_frozen_part(name)}
    assert statistics - frozen <= moved, "trained blocks keep learning theirs"
    if batch_norm == "frozen":
        assert not moved & frozen
    else:
        assert moved & frozen == {n for n in frozen if "running" in n or "num_batches" in n}


def test_frozen_norms_normalise_with_what_they_stored():
    student = D2VPR(TINY)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "up.weight" in name:  # adapters start as the zero function
                parameter.normal_(std=0.3)
    trained_parameters(student, "d2vpr-stage2")
    trained_parameters(student, "all")
    assert freeze_statistics(student) == [], "nothing is frozen"
    trained_parameters(student, "d2vpr-stage2")
    block = student.backbone.blocks[0]
    tokens = torch.randn(3, 5, 16)
    expected = block.eval()(tokens, (2, 2))
    moving = block.train()(tokens, (2, 2))
    assert not torch.allclose(moving, expected, atol=1e-4)
    freeze_statistics(student)
    for copied in (student, copy.deepcopy(student)):
        one = copied.backbone.blocks[0].eval()(tokens, (2, 2))
        other = copied.train().backbone.blocks[0](tokens, (2, 2))
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert student.state_dict().keys() == D2VPR(TINY).state_dict().keys()
    with pytest.raises(VprError, match="batch_norm is 'eval': choose one of moving, frozen"):
        freeze_statistics(student, "eval")
