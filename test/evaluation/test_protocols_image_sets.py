"""The public image sets: their rules against plain loops over the file names, and Recall@N of the whole chain."""

import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.folders import FolderConfig, PixelBaseline, evaluate_folders, rank_by_similarity
from vpr_ros.evaluation.protocols.image_sets import IMAGE_SETS, size_remark, truth_of_set


def name_of(east, north, heading="", number=0):
    """The scheme of the public sets: tenth field heading, everything else that is not needed left empty."""
    return f"@{east:010.2f}@{north:010.2f}@17@T@@@pano{number:05d}@@{heading}@@@@@@.jpg"


def lists(truth):
    return [p.tolist() for p in truth.positives]


def test_thresholds_and_counts_of_the_sets():
    """METHODS §6.3."""
    columns = ("database", "queries", "radius_m", "max_heading_deg", "frames", "pairs")
    assert {n: tuple(getattr(s, c) for c in columns) for n, s in IMAGE_SETS.items()} == {
        "pitts30k": (10000, 6816, 25, None, None, False),
        "pitts250k": (83952, 8280, 25, None, None, False),
        "msls-val": (18871, 740, 25, None, None, False),
        "msls-val-40deg": (18871, 740, 25, 40, None, False),
        "nordland": (27592, 27592, 25, None, 10, False),
        "nordland-1": (27592, 27592, 25, None, 1, False),
        "sped": (607, 607, 25, None, None, True),
        "amstertime": (1231, 1231, 25, None, None, True),
    }
    assert [n for n, s in IMAGE_SETS.items() if s.mode == "skip"] == ["msls-val-40deg"]


@pytest.mark.parametrize("name", ["pitts30k", "pitts250k", "msls-val", "msls-val-40deg"])
def test_radius_and_heading_against_loops(name):
    rng = np.random.default_rng(5)
    places = [rng.uniform((589000, 4477000), (589220, 4477220), (n, 2)).round(2) for n in (40, 60)]
    headings = [rng.integers(0, 360, n) for n in (40, 60)]
    queries, database = (
        [name_of(*xy, heading=h, number=i) for i, (xy, h) in enumerate(zip(p, a, strict=True))]
        for p, a in zip(places, headings, strict=True)
    )
    expected = []
    for xy, h in zip(places[0], headings[0], strict=True):
        right = []
        for k, (other, angle) in enumerate(zip(places[1], headings[1], strict=True)):
            turn = min((h - angle) % 360, (angle - h) % 360)
            if ((xy - other) ** 2).sum() ** 0.5 <= 25 and (name != "msls-val-40deg" or turn <= 40):
                right.append(k)
        expected.append(right)
    truth = truth_of_set(name, queries, database)
    assert lists(truth) == expected
    assert any(expected) and not all(expected)
    assert ("left out" if name == "msls-val-40deg" else "counts as a miss") in truth.rule


@pytest.mark.parametrize("name, reach", [("nordland", 10), ("nordland-1", 1)])
def test_nordland_by_mock_coordinates_and_by_frame_number(name, reach):
    mock = [name_of(0, i * 25 / 10.5, number=i) for i in range(60)]
    expected = [[k for k in range(60) if abs(k - q) <= reach] for q in range(60)]
    assert lists(truth_of_set(name, mock, mock)) == expected
    plain = [f"images-{i:05d}.png" for i in range(60)]
    assert lists(truth_of_set(name, plain, plain)) == expected
    thinned = plain[::10]  # every 10th frame keeps its number
    expected = [[k for k in range(6) if abs(10 * k - 10 * q) <= reach] for q in range(6)]
    assert lists(truth_of_set(name, thinned, thinned)) == expected


@pytest.mark.parametrize("name", ["sped", "amstertime"])
def test_pairs_by_mock_coordinates_and_by_name(name):
    mock = [name_of(1000 * i, 1000 * i, number=i) for i in range(20)]
    assert lists(truth_of_set(name, mock, mock)) == [[i] for i in range(20)]
    assert lists(truth_of_set(name, ["b.jpg", "a.jpg", "z.jpg"], ["a.png", "b.png"])) == [[1], [0], []]


def test_names_that_do_not_fit():
    good = [name_of(0, 0)]
    for words, arguments in {
        "is not a protocol: choose one of pitts30k": ("pitts", good, good),
        "some file names hold": ("pitts30k", good, ["a.jpg"]),
        "the file names hold no": ("msls-val", ["a.jpg"], ["a.jpg"]),
        "does not hold @easting": ("pitts30k", ["@x@y@.jpg"], good),
        "does not hold a heading": ("msls-val-40deg", good, good),
    }.items():
        with pytest.raises(VprError, match=words):
            truth_of_set(*arguments)


def test_sizes_that_are_not_the_published_ones_are_told():
    assert size_remark("pitts30k", 6816, 10000) is None
    assert "6816 queries and 10000 database images, these folders 12 and 30" in size_remark("pitts30k", 12, 30)


def scene(seed, gain=1.0):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 190, (6, 8, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (80, 60), interpolation=cv2.INTER_CUBIC) * gain, 0, 255).astype(np.uint8)


@pytest.fixture
def pittsburgh(tmp_path):
    """Ten places with two database images each; queries there, one of them unlike its place, and one off the map."""
    for folder in ("database", "queries"):
        (tmp_path / folder).mkdir()
    for i in range(10):
        for k in range(2):
            name = name_of(1000 + 100 * i, 50 + 10 * k, number=2 * i + k)
            cv2.imwrite(str(tmp_path / "database" / name), scene(i, 1 - 0.05 * k))
        seen = i if i != 4 else 7
        name = name_of(1000 + 100 * i, 55, number=i)
        cv2.imwrite(str(tmp_path / "queries" / name), scene(seen, 0.8))
    cv2.imwrite(str(tmp_path / "queries" / name_of(9000, 50, number=99)), scene(77))
    return tmp_path


def test_queries_without_positives_are_misses(pittsburgh):
    folders = (pittsburgh / "database", pittsburgh / "queries")
    result = evaluate_folders(PixelBaseline(), *folders, FolderConfig.of_set("pitts30k"))
    assert result.queries == 11 and result.database == 20
    assert sorted(result.recall) == [1, 5, 10] and result.recall[1] == pytest.approx(9 / 11)
    assert result.recall[10] <= 10 / 11  # nothing is right for the query off the map
    skipping = evaluate_folders(PixelBaseline(), *folders, FolderConfig(truth="utm:25"))
    assert skipping.queries == 10 and skipping.recall[1] == pytest.approx(9 / 10)


def test_euclidean_search_against_sorting_with_ties():
    rng = np.random.default_rng(0)
    database = rng.integers(-1, 2, (40, 3)).astype(np.float32)
    queries = rng.integers(-2, 3, (520, 3)).astype(np.float32)  # more than one block
    positives = [rng.permutation(40)[: rng.integers(0, 3)] for _ in queries]
    ranks = rank_by_similarity(queries, database, positives, "euclidean")
    for q in range(0, 520, 7):
        gaps = [float(((queries[q] - d) ** 2).sum() ** 0.5) for d in database]
        order = sorted(range(40), key=lambda r: (gaps[r], r in positives[q]))
        assert ranks[q] == next((i + 1 for i, r in enumerate(order) if r in positives[q]), 0)
    with pytest.raises(VprError, match="not a measure"):
        rank_by_similarity(queries, database, positives, "l1")


@pytest.mark.parametrize("measure", ["cosine", "euclidean"])
def test_a_collapsed_network_scores_nothing(measure):
    row = np.random.default_rng(1).normal(size=(1, 515)).astype(np.float32)
    row /= np.linalg.norm(row)
    positives = [np.array([k]) for k in range(45)]
    same = np.repeat(row, 45, 0)
    ranks = rank_by_similarity(same, same, positives, measure)
    assert ranks.tolist() == [45] * 45
    # batches of different sizes give descriptors that differ in the last bits
    nearly = same * (1 + np.random.default_rng(2).choice([-1, 1], same.shape) * np.float32(6e-8)).astype(np.float32)
    assert len(np.unique(nearly, axis=0)) == 45
    ranks = rank_by_similarity(nearly, nearly, positives, measure)
    assert ranks.tolist() == [45] * 45
