"""The PointNetVLAD benchmark's test over tiny folders in its layout: pickles, built splits, and loops."""

import pickle

import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.training.data.datasets.pointnetvlad.splits import EvaluationSplit, RunTable
from vpr_ros.training.evaluation import evaluate_split, open_split, run_pairs, split_recalls

CENTRE = (360895.486453, 144999.915143)  # of a residential square


def shape_of(samples):
    """A model by hand: spread and skew of the points along the axes."""
    clouds = np.stack([s.cloud for s in samples])
    return np.concatenate([clouds.std(axis=1), np.cbrt((clouds**3).mean(axis=1))], axis=1)


def write_runs(root, names, places=8):
    """Submaps of runs past the same places, 90 m apart eastwards through the middle of the square."""
    rng = np.random.default_rng(4)
    points = rng.uniform(-1, 1, (places, 4096, 3)) * rng.uniform(0.2, 0.6, (places, 1, 3))
    for n, name in enumerate(names):
        folder = root / "inhouse_datasets" / name
        (folder / "pointcloud_25m_25").mkdir(parents=True)
        lines = ["timestamp,northing,easting"]
        for k in range(places):
            stamp = 1_400_000_000_000_000 + (100 * n + k) * 1_000_000
            cloud = points[k] * (1 + 0.3 * rng.standard_normal(3))
            cloud.astype("<f8").tofile(folder / "pointcloud_25m_25" / f"{stamp}.bin")
            lines.append(f"{stamp},{CENTRE[0] + 3 * n},{CENTRE[1] - 360 + 90 * k + n}")
        (folder / "pointcloud_centroids_25.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("benchmark")
    names = [f"run_{n:02d}" for n in range(15)]
    write_runs(root, names[5:9])
    write_runs(root, [*names[:5], *names[9:]], places=1)
    return root


def test_the_residential_test_against_loops(root):
    split = open_split(root, "residential")
    assert [len(t) for t in split.databases] == [8, 8, 8, 8, 1]
    # places 3 (easting -90) to 5 (+90) lie inside, place 2 and 6 at 180 m do not
    assert [len(t) for t in split.queries] == [3, 3, 3, 3, 0]
    evaluation = evaluate_split(shape_of, root, split, name="by hand")
    recalls = []
    for m in range(5):
        for n in range(5):
            if m == n:
                continue
            hits = asked = 0
            for path, at in zip(split.queries[n].paths, split.queries[n].positions, strict=True):
                right = [np.hypot(*(at - other)) <= 25 for other in split.databases[m].positions]
                if any(right):
                    asked += 1
                    query = shape_of([Cloud(root / path)])[0]
                    gaps = [np.linalg.norm(query - shape_of([Cloud(root / p)])[0]) for p in split.databases[m].paths]
                    hits += right[int(np.argmin(gaps))]
            if asked:
                recalls.append(hits / asked)
    assert len(recalls) == 12 and 0.2 < np.mean(recalls) < 1
    assert evaluation.recalls.ar1 == pytest.approx(np.mean(recalls))
    assert evaluation.recalls.empty_pairs == 8 and "index list" in evaluation.statement
    assert [p.database_run for p in evaluation.recalls.pairs][:1] == ["00 run_05"]


class Cloud:
    def __init__(self, path):
        self.cloud = np.fromfile(path, "<f8").reshape(-1, 3).astype(np.float32)


def test_published_pickles_give_what_the_tables_give(root, tmp_path):
    split = open_split(root, "residential")
    for what, tables in (("database", split.databases), ("query", split.queries)):
        runs = []
        for n, table in enumerate(tables):
            run = {}
            for i, (path, at) in enumerate(zip(table.paths, table.positions, strict=True)):
                run[i] = {"query": path, "northing": at[0], "easting": at[1]}
                if what == "query":
                    run[i].update({m: split.positives[m, n][i].tolist() for m in range(5) if m != n})
            runs.append(run)
        (tmp_path / f"residential_evaluation_{what}.pickle").write_bytes(pickle.dumps(runs))
    (tmp_path / "inhouse_datasets").symlink_to(root / "inhouse_datasets")
    read = open_split(tmp_path, "residential")
    assert read.queries[0].paths == split.queries[0].paths
    one, other = (evaluate_split(shape_of, tmp_path, s).recalls for s in (read, split))
    assert [p.ranks.tolist() for p in one.pairs] == [p.ranks.tolist() for p in other.pairs]
    (tmp_path / "residential_evaluation_query.pickle").unlink()
    with pytest.raises(VprError, match="both belong together"):
        open_split(tmp_path, "residential")


def test_every_submap_is_embedded_once_with_its_picture(root, tmp_path):
    split = open_split(root, "residential")
    positives = {pair: lists for pair, lists in split.positives.items() if max(pair) < 2}
    split = EvaluationSplit(split.databases[:2], split.queries[:2], positives)
    index, seen = {}, []
    for table in split.databases:
        for path in table.paths:
            stamp = int(path.rsplit("/", 1)[1].removesuffix(".bin"))
            index[stamp] = [stamp + 7]
            folder = tmp_path / path.split("/")[1]
            folder.mkdir(exist_ok=True)
            cv2.imwrite(str(folder / f"{stamp + 7}.png"), np.full((6, 8, 3), stamp // 1_000_000 % 200, np.uint8))
    (tmp_path / "lidar2image_ndx.pickle").write_bytes(pickle.dumps(index))

    def model(samples):
        seen.extend(s.stamp_ns for s in samples)
        return np.stack([s.image[0, 0, :2].astype(float) for s in samples])

    told = []
    evaluate_split(model, root, split, tmp_path, progress=told.append)
    assert len(seen) == len(set(seen)) == told[-1] == 16


def test_recalls_of_a_split_are_those_of_run_pairs():
    rng = np.random.default_rng(0)
    xy = [np.column_stack([np.arange(12) * 15.0, rng.uniform(-2, 2, 12)]) for _ in range(4)]
    found = [rng.normal(size=(12, 3)) + at[:, :1] / 40 for at in xy]
    runs = [RunTable([f"oxford/r{n}/x/{k}.bin" for k in range(12)], at) for n, at in enumerate(xy)]
    split = EvaluationSplit.build(runs, squares=())
    listed = split_recalls(split, found, found, measure="cosine", conditions=["a", "b", "a", "b"])
    flat = run_pairs(np.concatenate(found), np.concatenate(xy), np.repeat(["0", "1", "2", "3"], 12), measure="cosine")
    assert listed.ar(3) == flat.ar(3) and listed.ar1 == flat.ar1 < 1
    assert sorted(listed.by_condition()) == [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    with pytest.raises(VprError, match="4 runs, but 3 databases"):
        split_recalls(split, found[:3], found)


def test_what_is_missing_is_told(root, tmp_path):
    with pytest.raises(VprError, match="no test split"):
        open_split(root, "paris")
    with pytest.raises(VprError, match="holds no runs"):
        open_split(root, "oxford")
    write_runs(tmp_path, ["run_00", "run_01"], places=1)
    with pytest.raises(VprError, match="needs all 15"):
        open_split(tmp_path, "university")
