"""The registry of distillation losses: every baseline against its formula in loops, and every entry on hard batches."""

import math

import pytest
import torch
from distil_naive import angles, cosine, embeddings, euclidean, in_means, mean_of, norm, smooth_l1, table, units

from vpr_ros.errors import VprError
from vpr_ros.training.losses import DISTILLATION, DISTILLATION_WEIGHTS, NEEDS_EQUAL_WIDTHS


def terms_of(name, student, teacher, weights=None):
    return DISTILLATION[name](student, teacher, weights)


def softmax(row):
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


def divergence(teacher, student):
    return sum(p * math.log(p / q) for p, q in zip(softmax(teacher), softmax(student), strict=True))


def neighbours(of_student, of_teacher):
    """Mean KL over rows of similarities at temperature 0.1, without the diagonal."""
    n = len(of_teacher)
    rows = [[[v / 0.1 for j, v in enumerate(of[i]) if j != i] for i in range(n)] for of in (of_teacher, of_student)]
    return sum(divergence(p, q) for p, q in zip(*rows, strict=True)) / n


def expected(name, s, t):
    us, ut = units(s), units(t)
    n, width = len(s), len(s[0])
    regression = sum(euclidean(a, b) ** 2 for a, b in zip(us, ut, strict=True)) / n
    similar = [table(cosine, x, x) for x in (s, t)]
    near = [[[-(v**2) for v in row] for row in in_means(table(euclidean, x))] for x in (s, t)]
    relational = {
        "distance": mean_of(smooth_l1, in_means(table(euclidean, s)), in_means(table(euclidean, t))),
        "angle": mean_of(smooth_l1, angles(s), angles(t)),
    }
    if name == "kd":
        return {"kd": regression}
    if name == "feature-mse":
        return {"feature_mse": regression / width}
    if name == "epc-net":
        gap = sum(euclidean(a, b) ** 2 for a, b in zip(s, t, strict=True))
        return {"epc_net": gap / sum(norm(b) ** 2 for b in t)}
    if name == "afd":
        total = 0.0
        for a, b in zip(us, ut, strict=True):
            mean = sum(abs(v) for v in b) / width
            total += sum(abs(v) / mean * (u - v) ** 2 for u, v in zip(a, b, strict=True))
        return {"afd": total / n}
    if name == "rkd":
        return {f"rkd_{key}": value for key, value in relational.items()}
    if name == "csd":
        return {"csd": neighbours(table(cosine, s, t), similar[1])}
    if name == "lsd-net":
        g = math.sqrt(width)
        kl = [divergence([g * v for v in b], [g * v for v in a]) for a, b in zip(us, ut, strict=True)]
        return {"lsd_pattern": regression, "lsd_distribution": sum(kl) / n}
    if name == "mkd":
        return {"mkd_alignment": regression, "mkd_correlation": neighbours(*similar)}
    return {
        **{f"relation_{key}": value for key, value in relational.items()},
        "relation_neighbours": neighbours(*near),
    }


BASELINES = ["kd", "feature-mse", "epc-net", "afd", "rkd", "csd", "lsd-net", "mkd", "relations"]


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("seed", range(3))
def test_baselines_equal_the_double_loops(name, seed):
    student, teacher = embeddings(seed=seed, scale=2.0)
    found = {key: float(value) for key, value in terms_of(name, student, teacher).items()}
    assert found == pytest.approx(expected(name, student.tolist(), teacher.tolist()), rel=3e-5)


def test_the_registry_names_what_the_contract_asks_for():
    distilvpr = [
        f"distilvpr-{agents}{reading}" for agents in ("s", "c", "sc", "tt-ts") for reading in ("", "-released")
    ]
    assert set(DISTILLATION) == {*distilvpr, *BASELINES}
    student, teacher = embeddings()
    for name, entry in DISTILLATION.items():
        assert set(terms_of(name, student, teacher)) == set(DISTILLATION_WEIGHTS[name]), name
        assert entry.description and (name in NEEDS_EQUAL_WIDTHS) == entry.equal_widths
    sc = DISTILLATION_WEIGHTS["distilvpr-sc-released"]
    assert sc["self_angle"] == 1.0 and sc["cross_cosine"] == 0.1


@pytest.mark.parametrize("name", sorted(DISTILLATION))
def test_unequal_widths_work_or_are_refused_in_one_sentence(name):
    student, teacher = embeddings(width=5, teacher_width=9)
    if name in NEEDS_EQUAL_WIDTHS:
        with pytest.raises(VprError, match="one width, not 5 and 9"):
            terms_of(name, student, teacher)
    else:
        assert all(torch.isfinite(value) for value in terms_of(name, student, teacher).values())


@pytest.mark.parametrize("name", sorted(DISTILLATION))
def test_every_loss_vanishes_at_the_teacher_and_a_step_lowers_it(name):
    student, teacher = embeddings(size=10, seed=3)
    at_teacher = terms_of(name, teacher, teacher)
    assert all(abs(float(value)) < 1e-6 for value in at_teacher.values())
    leaf = student.float().requires_grad_()

    def total(x):
        return sum(DISTILLATION_WEIGHTS[name][key] * value for key, value in terms_of(name, x, teacher).items())

    before = total(leaf)
    assert float(before) > 0
    before.backward()
    direction = leaf.grad / leaf.grad.norm()
    assert float(total(leaf.detach() - 0.02 * direction)) < float(before)
    assert teacher.grad is None


def hard_batches():
    student, teacher = embeddings(size=12, width=8, teacher_width=8)
    zero = torch.zeros_like(student)
    one_zero = student.clone()
    one_zero[4] = 0
    duplicates = student.clone()
    duplicates[5:8] = duplicates[4]
    return {
        "one sample": (student[:1], teacher[:1]),
        "one sample of zeros": (zero[:1], zero[:1]),
        "two samples": (student[:2], teacher[:2]),
        "duplicates": (duplicates, teacher),
        "duplicates on both sides": (duplicates, teacher[:1].repeat(12, 1)),
        "all the same place": (student[:1].repeat(12, 1), teacher),
        "nearly the same": (student[:1] + 1e-7 * student, teacher),
        "zero vectors": (zero, teacher),
        "zero teacher": (student, zero),
        "one zero vector": (one_zero, teacher),
        "opposite": (-teacher, teacher),
        "tiny": (1e-9 * student, 1e-9 * teacher),
        "long": (300 * student, teacher),
        "very long": (1e4 * student, 1e4 * teacher),
    }


@pytest.mark.parametrize("case", sorted(hard_batches()))
@pytest.mark.parametrize("name", sorted(DISTILLATION))
def test_hard_batches_keep_every_term_and_its_gradient_finite(name, case):
    student, teacher = hard_batches()[case]
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        leaf = student.to(dtype).requires_grad_()
        terms = terms_of(name, leaf, teacher.to(dtype))
        assert all(value.dtype == torch.float32 and value.ndim == 0 for value in terms.values())
        assert all(bool(torch.isfinite(value)) for value in terms.values())
        sum(terms.values()).backward()
        assert torch.isfinite(leaf.grad).all()
        if case not in ("tiny", "zero vectors", "one zero vector", "zero teacher", "one sample of zeros"):
            assert float(leaf.grad.abs().max()) < 1e3  # elsewhere directions are as steep as embeddings are short


@pytest.mark.parametrize("name", sorted(DISTILLATION))
def test_autocast_does_not_reach_the_terms(name):
    student, teacher = embeddings(size=12, width=8, teacher_width=8)
    outside = terms_of(name, student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        inside = terms_of(name, student, teacher)
    assert all(torch.equal(outside[key], inside[key]) for key in outside)
