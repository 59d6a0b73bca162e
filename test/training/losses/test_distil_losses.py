"""DistilVPR's terms against double loops written from METHODS section 3, in both readings."""

import math

import pytest
import torch
from distil_naive import (
    C,
    R,
    angles,
    cosine,
    embeddings,
    euclidean,
    hyperbolic,
    hyperbolic_released,
    in_means,
    mean_of,
    smooth_l1,
    square,
    table,
    units,
)

from vpr_ros.errors import VprError
from vpr_ros.training.losses import cross_terms, self_terms
from vpr_ros.training.losses.poincare import geodesics, released_geodesics, released_points
from vpr_ros.training.losses.relations import angle_loss, distances


def values(terms):
    return {name: float(value) for name, value in terms.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("teacher_width", [5, 9])
def test_self_terms_equal_the_double_loops(seed, teacher_width):
    student, teacher = embeddings(teacher_width=teacher_width, seed=seed)
    s, t = student.tolist(), teacher.tolist()
    paper, released = values(self_terms(student, teacher)), values(self_terms(student, teacher, reading="released"))
    assert paper == pytest.approx(
        {
            "self_euclidean": mean_of(smooth_l1, table(euclidean, s), table(euclidean, t)),
            "self_cosine": mean_of(smooth_l1, table(cosine, s, s), table(cosine, t, t)),
            "self_hyperbolic": mean_of(smooth_l1, table(hyperbolic, s), table(hyperbolic, t)),
        },
        rel=2e-5,
    )
    assert released == pytest.approx(
        {
            "self_euclidean": mean_of(smooth_l1, in_means(table(euclidean, s)), in_means(table(euclidean, t))),
            "self_angle": mean_of(smooth_l1, angles(s), angles(t)),
            "self_hyperbolic": mean_of(
                smooth_l1, in_means(table(hyperbolic_released, s)), in_means(table(hyperbolic_released, t))
            ),
        },
        rel=2e-5,
    )


@pytest.mark.parametrize("reading, geodesic", [("paper", hyperbolic), ("released", hyperbolic_released)])
@pytest.mark.parametrize("seed", range(3))
def test_cross_terms_equal_the_double_loops(seed, reading, geodesic):
    student, teacher = embeddings(scale=3.0, seed=seed)
    s, t = units(student.tolist()), units(teacher.tolist())
    expected = {}
    for name, of in (("euclidean", euclidean), ("cosine", cosine), ("hyperbolic", geodesic)):
        to_self = (lambda u, v: 1.0 if u is v else cosine(u, v)) if of is cosine else of
        between, ss, tt = table(of, t, s), table(to_self, s, s), table(to_self, t, t)
        if of is not cosine:
            ss, tt = table(of, s), table(of, t)
        expected[f"cross_{name}"] = mean_of(square, ss, [*zip(*between, strict=True)])
        expected[f"cross_tt_ts_{name}"] = mean_of(square, tt, between)
    found = values(cross_terms(student, teacher, reading=reading, directions=("ts-ss", "tt-ts")))
    assert found == pytest.approx(expected, rel=2e-5)
    default = cross_terms(student, teacher, reading=reading)
    assert set(default) == {"cross_euclidean", "cross_cosine", "cross_hyperbolic"}


def all_terms(student, teacher, reading):
    return values(self_terms(student, teacher, reading=reading) | cross_terms(student, teacher, reading=reading))


@pytest.mark.parametrize("reading", ["paper", "released"])
def test_terms_vanish_where_student_is_teacher(reading):
    student, _ = embeddings(size=9)
    terms = all_terms(student, student.clone(), reading)
    assert len(terms) == 6
    assert terms == pytest.approx(dict.fromkeys(terms, 0.0), abs=1e-10)
    moved = all_terms(student + 0.1 * torch.sin(student * 7), student, reading)
    assert all(value > 1e-7 for value in moved.values())


def gradient(loss, leaf):
    return torch.autograd.grad(loss, leaf, retain_graph=True)[0]


def test_only_the_released_reading_detaches_the_teacher_student_matrix():
    student, teacher = embeddings()
    leaf = student.float().requires_grad_()
    eps = 1e-3
    step = torch.zeros_like(leaf)
    step[2, 3] = eps
    for reading in ("paper", "released"):
        found = float(gradient(cross_terms(leaf, teacher, reading=reading)["cross_cosine"], leaf)[2, 3])

        def loss(of_pairs, of_targets):
            s, r = torch.nn.functional.normalize(of_pairs), torch.nn.functional.normalize(of_targets)
            t = torch.nn.functional.normalize(teacher)
            return float((s @ s.T - t @ r.T).square().mean())

        fixed = leaf.detach().double()
        up, down = fixed + step, fixed - step
        slope = loss(up, fixed) - loss(down, fixed) if reading == "released" else loss(up, up) - loss(down, down)
        assert found == pytest.approx(slope / (2 * eps), rel=1e-3)


@pytest.mark.parametrize(
    "reading, name",
    [(r, n) for r, second in (("paper", "cosine"), ("released", "angle")) for n in ("euclidean", second, "hyperbolic")],
)
def test_self_gradients_are_the_slopes_of_the_values(reading, name):
    student, teacher = embeddings(seed=4)
    leaf = student.float().requires_grad_()
    found = gradient(self_terms(leaf, teacher, reading=reading)[f"self_{name}"], leaf)
    direction = found / found.norm()
    eps = 2e-2
    slope = sum(
        k * float(self_terms(leaf.detach() + f * eps * direction, teacher, reading=reading)[f"self_{name}"])
        for f, k in ((-2, 1), (-1, -8), (1, 8), (2, -1))
    ) / (12 * eps)
    assert slope == pytest.approx(float(found.norm()), rel=2e-2)


def test_paper_geodesics_do_not_saturate_where_the_released_ones_do():
    g = torch.Generator().manual_seed(1)
    long = 20 * torch.nn.functional.normalize(torch.randn(8, 384, generator=g)) * torch.linspace(1, 3, 8)[:, None]
    teacher = 3 * torch.randn(8, 384, generator=g)

    def hyperbolic_gradient(reading):
        leaf = long.clone().requires_grad_()
        return gradient(self_terms(leaf, teacher, reading=reading)["self_hyperbolic"], leaf).norm()

    assert hyperbolic_gradient("released") < 1e-6
    assert hyperbolic_gradient("paper") > 1e-3
    d = geodesics(distances(long), long.norm(dim=1), long.norm(dim=1), curvature=C)
    # far from the centre cosh and sinh are the same exponential, which leaves the law of cosines with one logarithm
    u, v = 2 * R * float(long[0].norm()), 2 * R * float(long[7].norm())
    c = float(torch.nn.functional.cosine_similarity(long[:1], long[7:]))
    assert float(d[0, 7]) == pytest.approx((u + v + math.log((1 - c) / 2)) / R, rel=1e-5)
    shell = released_geodesics(long, curvature=C)
    off = shell[~torch.eye(8, dtype=torch.bool)]
    assert float(off.max()) < 38.7 and float(off.std() / off.mean()) < 1e-2


def test_released_geodesics_have_every_clamp():
    g = torch.Generator().manual_seed(5)
    lengths = torch.tensor([1e-6, 0.3, 1.0, 4.0, 9.0, 14.0, 60.0])[:, None]
    x = lengths * torch.nn.functional.normalize(torch.randn(7, 5, generator=g))
    y = lengths.flip(0) * torch.nn.functional.normalize(torch.randn(7, 5, generator=g))
    expected = torch.tensor(table(hyperbolic_released, x.double().tolist(), y.double().tolist()))
    assert torch.allclose(released_geodesics(x, y, curvature=C), expected, rtol=1e-3)
    # beyond the clamp the value stands still; its gradient does not
    line = torch.tensor([[11.0, 0.0], [-11.0, 0.0]], requires_grad=True)
    d = released_geodesics(line, curvature=C)[0, 1]
    assert float(d.detach()) == pytest.approx(2 / R * math.atanh(1 - 1e-5), rel=1e-3)
    assert float(gradient(d, line)[0, 0]) > 0.1


def test_geodesics_have_the_known_identities():
    v = torch.tensor([[0.0, 0, 0], [3e-3, 0, 0], [1.0, 0, 0], [30.0, 0, 0], [-500.0, 0, 0], [-500.0, 0, 0]])
    d = geodesics(distances(v), v.norm(dim=1), v.norm(dim=1), curvature=C)
    assert d[0].tolist() == pytest.approx([0, 6e-3, 2, 60, 1000, 1000], rel=1e-5)  # d(0, exp_0(v)) = 2 |v|
    assert float(d[2, 3]) == pytest.approx(58, rel=1e-5)  # one ray: the difference
    assert float(d[3, 4]) == pytest.approx(1060, rel=1e-5)  # one line through the centre: the sum
    assert float(d[4, 5]) == 0 and torch.equal(d, d.T)
    x, y = embeddings(scale=0.01)
    small = geodesics(distances(x, y), x.norm(dim=1), y.norm(dim=1), curvature=C)
    assert torch.allclose(small, 2 * distances(x, y), rtol=1e-3)
    at_unit = released_points(torch.eye(3), curvature=C).norm(dim=1) * R
    assert at_unit.tolist() == pytest.approx([0.306] * 3, abs=1e-3)
    assert float(released_geodesics(1e4 * torch.eye(3), curvature=C).max()) == pytest.approx(38.6, abs=0.05)


def test_unit_vectors_make_cross_manifolds_functions_of_the_cosine():
    """METHODS 0.10: what the cross terms compare carries one piece of information."""
    s = torch.nn.functional.normalize(torch.randn(60, 16, generator=torch.Generator().manual_seed(2)))
    d = distances(s)
    h = geodesics(d, s.norm(dim=1), s.norm(dim=1), curvature=C)
    off = ~torch.eye(60, dtype=torch.bool)
    assert torch.equal(d[off].argsort(), h[off].argsort())
    assert float(torch.corrcoef(torch.stack([d[off], h[off]]))[0, 1]) > 0.999
    assert float((h[off] / d[off]).mean()) == pytest.approx(2.06, abs=0.05)


def test_angles_in_blocks_are_those_at_once(monkeypatch):
    student, teacher = embeddings(size=11)
    results = []
    for block in (1 << 22, 3 * 121):
        monkeypatch.setattr("vpr_ros.training.losses.relations.BLOCK", block)
        leaf = student.float().requires_grad_()
        loss = angle_loss(distances(leaf), distances(teacher))
        results.append((loss.detach(), gradient(loss, leaf)))
    assert torch.allclose(results[0][0], results[1][0]) and torch.allclose(results[0][1], results[1][1], atol=1e-8)


def test_duplicates_keep_the_angle_term_and_its_gradient_small():
    student, teacher = embeddings(size=12)
    student[7] = student[3]
    reference = mean_of(smooth_l1, angles(student.tolist()), angles(teacher.tolist()))
    for nudge in (0.0, 1e-9, 1e-6, 1e-4):
        leaf = student.float()
        leaf[7, 0] += nudge
        leaf.requires_grad_()
        loss = self_terms(leaf, teacher, reading="released")["self_angle"]
        assert float(gradient(loss, leaf).abs().max()) < 1
        if nudge == 0:
            assert float(loss.detach()) == pytest.approx(reference, rel=1e-5)


def test_distances_of_close_rows_are_not_lost():
    base = torch.full((2, 64), 100.0)
    base[1, 5] += 0.01
    assert float(distances(base)[0, 1]) == pytest.approx(float(base[1, 5] - base[0, 5]), rel=1e-5)


def test_wrong_input_is_said_in_one_sentence():
    student, teacher = embeddings(teacher_width=9)
    assert self_terms(student, teacher)
    with pytest.raises(VprError, match="one width, not 5 and 9"):
        cross_terms(student, teacher)
    with pytest.raises(VprError, match="one row of student and of teacher"):
        self_terms(student, teacher[:-1])
    with pytest.raises(VprError, match="reading 'code'"):
        self_terms(student, teacher, reading="code")
    with pytest.raises(VprError, match="direction 'ss-ts'"):
        cross_terms(student, student, directions=("ss-ts",))
