"""AR@N and AR@1 % against plain loops, ties included, and what the protocol skips."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.run_pairs import Run, recall_over_pairs, run_pairs
from vpr_ros.evaluation.ranking import distances, first_ranks, mask_of


def naive_distance(a, b, measure):
    a, b = [float(x) for x in a], [float(x) for x in b]
    if measure == "l1":
        return sum(abs(x - y) for x, y in zip(a, b, strict=True))
    if measure == "cosine":
        la, lb = sum(x * x for x in a) ** 0.5, sum(y * y for y in b) ** 0.5
        return 1 - (sum(x * y for x, y in zip(a, b, strict=True)) / (la * lb) if la and lb else 0.0)
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5


def naive_rank(query, database, right, measure):
    """Position of the first right answer in a list sorted by distance, the wrong ones first among equals."""
    listed = [(round(naive_distance(query, row, measure), 9), k in right) for k, row in enumerate(database)]
    for position, (_, good) in enumerate(sorted(listed), start=1):
        if good:
            return position
    return 0


def naive_average_recall(world, radius_m, measure, n, turn=None):
    """The protocol in double loops; n is a number or "1%"."""
    recalls = []
    for area in sorted(set(world["areas"])):
        runs = sorted({r for r, a in zip(world["runs"], world["areas"], strict=True) if a == area})
        for base in runs:
            for asking in runs:
                if base == asking:
                    continue
                frames = [i for i in range(len(world["runs"])) if world["areas"][i] == area]
                database = [i for i in frames if world["runs"][i] == base]
                limit = max(round(len(database) / 100), 1) if n == "1%" else n
                hits = asked = 0
                for q in frames:
                    if world["runs"][q] != asking or not world["asks"][q]:
                        continue
                    right = set()
                    for k, d in enumerate(database):
                        gap = np.hypot(*(world["xy"][q] - world["xy"][d]))
                        angle = abs(np.angle(np.exp(1j * (world["heading"][q] - world["heading"][d]))))
                        if gap <= radius_m and (turn is None or angle <= turn):
                            right.add(k)
                    if not right:
                        continue
                    asked += 1
                    rank = naive_rank(world["x"][q], world["x"][database], right, measure)
                    hits += rank <= limit
                if asked:
                    recalls.append(hits / asked)
    return float(np.mean(recalls)), len(recalls)


@pytest.fixture(scope="module")
def world():
    """Two areas of three runs, one long enough for 1 % to mean 2 frames; embeddings on a coarse grid, so with ties."""
    rng = np.random.default_rng(3)
    runs, areas, xy = [], [], []
    for area, lengths in (("a", (14, 15, 250)), ("b", (10, 9, 11))):
        for number, length in enumerate(lengths):
            runs += [f"{area}{number}"] * length
            areas += [area] * length
            xy.append(np.column_stack([np.arange(length) * 12.0, rng.uniform(-3, 3, length)]))
    xy = np.concatenate(xy)
    heading = rng.uniform(-np.pi, np.pi, len(xy))
    place = np.column_stack([np.sin(xy[:, 0] / 37), np.cos(xy[:, 0] / 53), heading * 0.1])
    x = np.round(place + rng.normal(0, 0.25, place.shape), 1) + 0.1
    x[5] = 0.0
    return {
        "x": x,
        "xy": xy,
        "runs": np.array(runs),
        "areas": np.array(areas),
        "heading": heading,
        "asks": rng.random(len(xy)) < 0.7,
    }


@pytest.mark.parametrize("measure", ["euclidean", "cosine", "l1"])
def test_average_recall_against_double_loops(world, measure):
    got = run_pairs(
        world["x"], world["xy"], world["runs"], world["areas"], queries=world["asks"], measure=measure, radius_m=25
    )
    for n in (1, 2, 5, 25):
        expected, pairs = naive_average_recall(world, 25, measure, n)
        assert got.ar(n) == pytest.approx(expected, abs=1e-12)
        assert len(got.pairs) - got.empty_pairs == pairs
    assert got.ar1_percent == pytest.approx(naive_average_recall(world, 25, measure, "1%")[0], abs=1e-12)
    assert got.ar1_percent > got.ar1  # the long run answers with two frames
    assert 0.02 < got.ar1 < 0.9


def test_headings_against_double_loops(world):
    got = run_pairs(
        world["x"],
        world["xy"],
        world["runs"],
        world["areas"],
        queries=world["asks"],
        headings_rad=world["heading"],
        heading_rad=0.7,
        radius_m=30,
    )
    assert got.ar1 == pytest.approx(naive_average_recall(world, 30, "euclidean", 1, turn=0.7)[0], abs=1e-12)
    assert "looks the same way within 40" in got.statement() and got.skipped > 0


def test_ties_go_against_the_method():
    same = np.full((40, 300), 1 / 3, dtype=np.float32)  # a collapsed network
    xy = np.column_stack([np.tile(np.arange(20) * 50.0, 2), np.zeros(40)])
    runs = np.repeat(["first", "second"], 20)
    for measure in ("euclidean", "cosine", "l1"):
        got = run_pairs(same, xy, runs, measure=measure)
        assert got.ar(1) == 0.0 and got.ar(19) == 0.0 and got.ar(20) == 1.0


def test_ties_survive_rounding_of_the_matrix_product():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1, 700)) * 50 + 300
    found, tie = distances(rng.normal(size=(9, 700)) * 50 + 300, np.repeat(rows, 64, axis=0))
    right = np.zeros((9, 64), bool)
    right[:, 5] = True
    assert first_ranks(found, right, tie).tolist() == [64] * 9


def test_published_lists_give_what_the_radius_gives(world):
    named = {}
    for run in np.unique(world["runs"]):
        rows = np.flatnonzero(world["runs"] == run)
        asking = rows[world["asks"][rows]]
        area = str(world["areas"][rows[0]])
        lists = {}
        for other in np.unique(world["runs"][world["areas"] == area]):
            base = np.flatnonzero(world["runs"] == other)
            lists[str(other)] = [
                np.flatnonzero(np.hypot(*(world["xy"][base] - world["xy"][q]).T) <= 25.0) for q in asking
            ]
        named[run] = Run(str(run), world["x"][rows], world["x"][asking], lists, area)
    listed = recall_over_pairs(list(named.values()), measure="cosine")
    by_radius = run_pairs(
        world["x"], world["xy"], world["runs"], world["areas"], queries=world["asks"], measure="cosine"
    )
    assert [p.ranks.tolist() for p in listed.pairs] == [p.ranks.tolist() for p in by_radius.pairs]
    assert listed.ar1 == by_radius.ar1 and "cosine" in listed.statement() and "index list" in listed.statement()


def test_mean_is_over_pairs_not_over_queries():
    x = np.array([[0.0], [1.0], [2.0], [0.1], [1.1], [9.0]])
    xy = np.array([[0.0, 0], [100, 0], [200, 0], [0, 0], [100, 0], [200, 0]])
    got = run_pairs(x, xy, np.array(["a", "a", "a", "b", "b", "b"]), queries=np.array([1, 0, 0, 1, 1, 1], bool))
    assert {(p.database_run, p.query_run): p.recall(1) for p in got.pairs} == {("b", "a"): 1.0, ("a", "b"): 1.0}
    x[5] = 0.0  # the last frame of b now looks like the first
    got = run_pairs(x, xy, np.array(["a", "a", "a", "b", "b", "b"]), queries=np.array([1, 0, 0, 1, 1, 1], bool))
    assert got.ar1 == pytest.approx((0.0 + 2 / 3) / 2)  # frame 0 of a is nearer to b's last frame: pair (b, a) is lost


def test_queries_without_a_true_match_are_skipped_but_count_as_false_accepts():
    x = np.array([[0.0], [1.0], [0.25], [1.5], [0.75]])
    xy = np.array([[0.0, 0], [100, 0], [0, 0], [100, 0], [5000, 0]])
    got = run_pairs(x, xy, np.array(["m", "m", "q", "q", "q"]), queries=np.array([0, 0, 1, 1, 1], bool))
    assert got.ar1 == 1.0 and got.counted == 2 and got.skipped == 1 and got.empty_pairs == 1
    curve = got.precision_recall()
    # equally near are a right one and one off the map: accepted together; then the other right one
    assert curve.accepted.tolist() == [2, 3] and curve.recall.tolist() == [0.5, 1.0]
    np.testing.assert_allclose(curve.precision, [1 / 2, 2 / 3])


def test_one_percent_rounds_half_to_even():
    rng = np.random.default_rng(1)
    for size, first in ((49, 1), (150, 2), (250, 2), (251, 3), (350, 4)):
        ranks = []
        for rank in (first, first + 1):
            database = np.arange(1, size + 1, dtype=float)[:, None]
            lists = [np.array([rank - 1])]
            run = Run("q", rng.normal(size=(1, 1)), np.zeros((1, 1)), {"d": lists})
            base = Run("d", database, np.zeros((0, 1)), {"q": []})
            ranks.append(recall_over_pairs([run, base]).ar1_percent)
        assert ranks == [1.0, 0.0], size


def test_groups_by_area_and_condition(world):
    conditions = np.where(np.char.endswith(world["runs"], "0"), "day", "night")
    got = run_pairs(world["x"], world["xy"], world["runs"], world["areas"], conditions=conditions)
    groups = got.by_condition()
    assert sorted(groups) == [("day", "night"), ("night", "day"), ("night", "night")]
    assert sum(len(g.pairs) for g in groups.values()) == len(got.pairs) == 12
    per_area = got.per_area()
    assert sorted(per_area) == ["a", "b"]
    assert np.mean([*per_area.values()]) == pytest.approx(got.ar1)  # as many pairs in each
    assert per_area["a"] == pytest.approx(np.mean([p.recall(1) for p in got.pairs if p.area == "a"]))
    assert got.per_area("1%")["a"] >= per_area["a"]
    header, rows = got.table()
    assert len(rows) == 12 and all(len(row) == len(header) for row in rows)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"runs": np.array(["only"] * 6)}, "two or more runs"),
        ({"positions_m": np.zeros((5, 2))}, "5 positions"),
        ({"positions_m": np.arange(12).reshape(6, 2) * 1e4}, "no query has a true match"),
        ({"embeddings": np.full((6, 2), np.nan)}, "not finite, first in row 0"),
        ({"measure": "hamming"}, "choose one of"),
        ({"radius_m": 0.0}, "radius must be positive"),
        ({"heading_rad": 0.5}, "needs the headings"),
        ({"embeddings": np.zeros(6)}, r"\(N, D\)"),
    ],
)
def test_bad_input(change, words):
    good = {"embeddings": np.eye(6), "positions_m": np.zeros((6, 2)), "runs": np.array(["a", "b"] * 3)}
    assert run_pairs(**good).counted == 6
    with pytest.raises(VprError, match=words):
        run_pairs(**(good | change))


def test_bad_lists():
    one = Run("one", np.eye(3), np.eye(3), {"two": [[0], [1], [2]]})
    two = Run("two", np.eye(3), np.eye(3), {"one": [[0], [1], [2]]})
    assert recall_over_pairs([one, two]).ar1 == 1.0
    with pytest.raises(VprError, match="no index lists into run one"):
        recall_over_pairs([one, Run("two", np.eye(3), np.eye(3), {})])
    with pytest.raises(VprError, match="3 queries but 1 index lists"):
        recall_over_pairs([one, Run("two", np.eye(3), np.eye(3), {"one": [[0]]})])
    with pytest.raises(VprError, match="database row 3, but there are 3"):
        recall_over_pairs([one, Run("two", np.eye(3), np.eye(3), {"one": [[0], [3], []]})])
    with pytest.raises(VprError, match="listed twice"):
        recall_over_pairs([one, one])
    with pytest.raises(VprError, match="row -1"):
        mask_of([np.array([-1])], 3)
