"""Splits and folders of the PointNetVLAD benchmark, and its pickles read without running them."""

import os
import pickle
import sys
import types

import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.training.data.datasets.pointnetvlad.pickles import read_pickle
from vpr_ros.training.data.datasets.pointnetvlad.samples import ORIGINS, PointNetVLAD, list_runs, read_run
from vpr_ros.training.data.datasets.pointnetvlad.splits import (
    INHOUSE_RUNS,
    OXFORD_SQUARES,
    OXFORD_TEST_RUNS,
    RESIDENTIAL_SQUARES,
    UNIVERSITY_SQUARES,
    EvaluationSplit,
    RunTable,
    TrainingSplit,
    in_squares,
    oxford_test_runs,
)
from vpr_ros.training.data.sample import SampleSet

HOME = np.array([5735300.0, 620300.0])  # around the test squares


def places(n, seed, spread=400.0):
    return HOME + np.random.default_rng(seed).uniform(-spread, spread, (n, 2))


# -- splits from positions ---------------------------------------------------------------------------------------------


def test_squares_are_open():
    n, e = OXFORD_SQUARES[2]
    at = [(n, e), (n + 149.999, e - 149.999), (n + 150, e), (n, e - 150.0), (n - 1000, e)]
    assert in_squares(np.array(at), OXFORD_SQUARES).tolist() == [True, True, False, False, False]
    rng_at = places(500, 4, 900.0)
    expected = [any(abs(p[0] - s[0]) < 150 and abs(p[1] - s[1]) < 150 for s in OXFORD_SQUARES) for p in rng_at]
    assert in_squares(rng_at, OXFORD_SQUARES).tolist() == expected and any(expected) and not all(expected)
    assert len(UNIVERSITY_SQUARES) == len(RESIDENTIAL_SQUARES) == 3
    assert sorted(i for runs in INHOUSE_RUNS.values() for i in runs) == list(range(15))


def test_the_published_test_runs():
    folders = [f"2014-05-{i:02d}-00-00-00" for i in range(45)]
    chosen = oxford_test_runs(folders[::-1])
    assert len(chosen) == 23 and chosen == [folders[i] for i in OXFORD_TEST_RUNS]
    assert chosen[0] == folders[5] and chosen[-1] == folders[44] and folders[20] not in chosen
    with pytest.raises(VprError, match="45 folders"):
        oxford_test_runs(folders[:44])


@pytest.mark.parametrize("positive", [10.0, 12.5])
def test_a_training_split_is_that_of_two_loops(positive):
    at = places(300, 5)
    split = TrainingSplit.build([f"oxford/run/pc/{i}.bin" for i in range(300)], at, positive_m=positive)
    kept = [i for i in range(300) if not in_squares(at[i : i + 1], OXFORD_SQUARES)[0]]
    assert 100 < len(kept) < 300 and split.paths == [f"oxford/run/pc/{i}.bin" for i in kept] and len(split) == len(kept)
    for a, i in enumerate(kept):
        near = [b for b, j in enumerate(kept) if np.linalg.norm(at[i] - at[j]) <= 50.0]
        assert split.non_negatives[a].tolist() == near and a in near
        close = [b for b, j in enumerate(kept) if a != b and np.linalg.norm(at[i] - at[j]) <= positive]
        assert split.positives[a].tolist() == close


def runs_of(count, seed):
    return [
        RunTable([f"oxford/run{r}/pointcloud_20m/{r * 1000 + i}.bin" for i in range(50)], places(50, seed + r))
        for r in range(count)
    ]


def test_an_evaluation_split_is_that_of_loops():
    runs = runs_of(3, 10)
    split = EvaluationSplit.build(runs)
    assert [len(d) for d in split.databases] == [50] * 3
    for n, run in enumerate(runs):
        inside = [i for i in range(50) if in_squares(run.positions[i : i + 1], OXFORD_SQUARES)[0]]
        assert split.queries[n].paths == [run.paths[i] for i in inside] and 5 < len(inside) < 45
        for m, other in enumerate(runs):
            if m == n:
                assert (m, n) not in split.positives
                continue
            for i, found in zip(inside, split.positives[m, n], strict=True):
                expected = [j for j in range(50) if np.linalg.norm(other.positions[j] - run.positions[i]) <= 25.0]
                assert found.tolist() == expected
    assert sum(map(len, split.positives[0, 1])) > 0
    everything = EvaluationSplit.build(runs, squares=())
    assert [len(q) for q in everything.queries] == [50] * 3
    assert runs[1].stamps[:2].tolist() == [1000, 1001]


# -- pickles -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(monkeypatch):
    """The module whose class MinkLoc's pickles name, in this process for writing only."""
    module = types.ModuleType("datasets.oxford")

    class TrainingTuple:
        def __init__(self, **fields):
            self.__dict__.update(fields)

    TrainingTuple.__module__, TrainingTuple.__qualname__ = "datasets.oxford", "TrainingTuple"
    module.TrainingTuple = TrainingTuple
    monkeypatch.setitem(sys.modules, "datasets", types.ModuleType("datasets"))
    monkeypatch.setitem(sys.modules, "datasets.oxford", module)
    return TrainingTuple


def write(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_minklocs_training_pickle(tmp_path, foreign, monkeypatch, protocol):
    built = TrainingSplit.build([f"oxford/run/pc/{i}.bin" for i in range(40)], places(40, 6, 60.0), squares=())
    table = {
        i: foreign(
            id=i,
            timestamp=i * 7,
            rel_scan_filepath=built.paths[i],
            positives=built.positives[i],
            non_negatives=built.non_negatives[i],
            position=built.positions[i],
        )
        for i in range(40)
    }
    path = write(tmp_path / "training.pickle", table, protocol)
    for name in ("datasets", "datasets.oxford"):
        monkeypatch.delitem(sys.modules, name)
    split = TrainingSplit.read(path)
    assert "datasets.oxford" not in sys.modules  # nothing was imported for it
    assert split.paths == built.paths
    np.testing.assert_array_equal(split.positions, built.positions)
    for i in range(40):
        assert split.positives[i].tolist() == built.positives[i].tolist()
        assert split.non_negatives[i].tolist() == built.non_negatives[i].tolist()
    assert split.masks([0, 1, 2])[0].shape == (3, 3)


def test_pointnetvlads_training_pickle(tmp_path):
    built = TrainingSplit.build([f"oxford/run/pc/{i}.bin" for i in range(40)], places(40, 6, 60.0), squares=())
    shuffle = np.random.default_rng(0).permutation
    table = {
        i: {
            "query": built.paths[i],
            "positives": shuffle(built.positives[i]).tolist(),
            "negatives": shuffle(np.setdiff1d(np.arange(40), built.non_negatives[i])).tolist(),
        }
        for i in range(40)
    }
    split = TrainingSplit.read(write(tmp_path / "training.pickle", table))
    assert split.positions is None and split.paths == built.paths
    for i in range(40):
        assert split.positives[i].tolist() == built.positives[i].tolist()
        assert split.non_negatives[i].tolist() == built.non_negatives[i].tolist()


def published(split):
    """The two evaluation pickles of a split, as the benchmark writes them (numbers are numpy's)."""

    def rows(table):
        return {
            i: {"query": path, "northing": np.float64(at[0]), "easting": np.float64(at[1])}
            for i, (path, at) in enumerate(zip(table.paths, table.positions, strict=True))
        }

    database, query = [rows(d) for d in split.databases], [rows(q) for q in split.queries]
    for (m, n), lists in split.positives.items():
        for i, found in enumerate(lists):
            query[n][i][m] = found.tolist()
    return database, query


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_the_evaluation_pickles(tmp_path, protocol):
    built = EvaluationSplit.build(runs_of(3, 20))
    database, query = published(built)
    split = EvaluationSplit.read(
        write(tmp_path / "d.pickle", database, protocol), write(tmp_path / "q.pickle", query, protocol)
    )
    for tables, expected in [(split.databases, built.databases), (split.queries, built.queries)]:
        for a, b in zip(tables, expected, strict=True):
            assert a.paths == b.paths
            np.testing.assert_array_equal(a.positions, b.positions)
    assert set(split.positives) == set(built.positives)
    for pair, lists in built.positives.items():
        assert [x.tolist() for x in split.positives[pair]] == [x.tolist() for x in lists]


def test_plain_values_come_back_as_they_are(tmp_path):
    shared = [1, 2]
    value = {
        "a": [1, 2.5, "x", None, True, b"y"],
        "b": (1, (2,)),
        "c": {3, 4},
        "d": [shared, shared],
        "e": np.arange(6, dtype=np.float32).reshape(2, 3, order="F"),
        "f": np.array([1, 2], ">i4"),
        "g": np.int64(5),
        "h": np.zeros((0, 2)),
        "i": np.array([True, False]),
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = read_pickle(write(tmp_path / "x.pickle", value, protocol))
        assert set(found) == set(value)
        for key, expected in value.items():
            if isinstance(expected, np.ndarray):
                assert found[key].dtype == expected.dtype
                np.testing.assert_array_equal(found[key], expected)
            else:
                assert found[key] == expected, (protocol, key)


class Evil:
    """Unpickling it runs a command."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def cyclic():
    value = []
    value.append(value)
    return value


def laughing():
    value = [1.5]
    for _ in range(80):
        value = [value, value]
    return value


@pytest.mark.parametrize("hidden", ["plain", "key", "object array", "tuple field", "late"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_pickle_runs_nothing(tmp_path, foreign, hidden, protocol):
    mark = tmp_path / "ran"
    evil = Evil(os.system, (f"touch {mark}",))
    value = {
        "plain": {0: evil},
        "key": [{"query": evil}],
        "object array": np.array([evil], dtype=object),
        "tuple field": {0: foreign(id=evil)},
        "late": [*range(10_000), evil],
    }[hidden]
    path = write(tmp_path / "evil.pickle", value, protocol)
    with pytest.raises(VprError) as error:
        read_pickle(path)
    assert not mark.exists() and "system" in str(error.value) and str(path) in str(error.value)
    pickle.loads(path.read_bytes())
    assert mark.exists()  # read in the ordinary way it would have run


REFUSED = {
    "eval": (Evil(eval, ("1 + 1",)), "eval"),
    "getattr": (Evil(getattr, ("text", "upper")), "getattr"),
    "numpy file": (Evil(np.fromfile, ("/etc/hostname",)), "fromfile"),
    "big buffer": (Evil(bytearray, (10**12,)), "bytearray"),
    "big bytes": (Evil(bytes, (10**12,)), "bytes made by a call"),
    "import": (Evil(__import__, ("antigravity",)), "__import__"),
    "text array": (np.array(["a"]), "type 'U1'"),
    "object array": (np.array([{}], dtype=object), "an array that is not numbers"),
    "record array": (np.zeros(2, [("a", "i4")]), "type 'V4'"),
    "complex": (np.complex128(1j), "type 'c16'"),
    "own class": (RunTable([], np.empty((0, 2))), "RunTable"),
    "cycle": (cyclic(), "nested too deeply"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_plain_data_is_refused_by_name(tmp_path, kind):
    value, named = REFUSED[kind]
    with pytest.raises(VprError) as error:
        read_pickle(write(tmp_path / "x.pickle", value))
    assert named in str(error.value) and "\n" not in str(error.value)


def test_shared_parts_cost_nothing_twice(tmp_path):
    found = read_pickle(write(tmp_path / "x.pickle", laughing()))  # 2**80 paths to one number
    assert found[0] is found[1]


def raw(*opcodes):
    return b"\x80\x02" + b"".join(opcodes) + b"."


def test_hand_made_opcodes_reach_nothing(tmp_path):
    """Streams that no pickler writes: states for stand-ins, attributes of globals, outside objects, extensions."""
    np_array = b"cnumpy.core.multiarray\n_reconstruct\n"
    streams = {
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.ctx\x93.",
        "outside": raw(b"Psomewhere\n"),
        "extension": raw(b"\x82\x01"),
        "array without state": raw(np_array, b")R"),
        "array of garbage": raw(np_array, b")R", b"(K\x01)K\x00K\x00K\x00tb"),
        "state for a class": raw(b"cdatasets.oxford\nTrainingTuple\n", b"}U\x01aK\x01sb"),
        "a class alone": raw(b"cdatasets.oxford\nTrainingTuple\n"),
        "tuple without fields": raw(b"cdatasets.oxford\nTrainingTuple\n", b")\x81"),
        "state for a type": raw(b"c__builtin__\ndict\n", b"N}U\x05itemsK\x01s\x86b"),
        "empty": b"",
        "text": b"hello",
        "torn": pickle.dumps(list(range(1000)))[:-50],
    }
    path = tmp_path / "x.pickle"
    for name, data in streams.items():
        path.write_bytes(data)
        with pytest.raises(VprError, match=r"x\.pickle"):
            print(name, read_pickle(path))
    with pytest.raises(VprError, match="cannot be read"):
        read_pickle(tmp_path / "nowhere.pickle")


def test_pickles_of_another_content_are_told(tmp_path, foreign):
    near = {"positives": [0], "negatives": []}
    for value, named in [
        ([1, 2], "numbered from 0"),
        ({}, "numbered from 0"),
        ({1: {}}, "numbered from 0"),
        ({0: {"query": "x"}}, "should hold query"),
        ({0: 5}, "should hold query"),
        ({0: {"query": "x", "positives": [7], "negatives": []}}, "names element 7, but there are 1"),
        ({0: {"query": "x", "positives": [], "negatives": [-1]}}, "names element -1"),
        ({0: {"query": "x", **near}, 1: foreign(id=1)}, "TrainingTuple"),
    ]:
        with pytest.raises(VprError, match=named):
            TrainingSplit.read(write(tmp_path / "t.pickle", value))
    good = [{0: {"query": "oxford/a/b/1.bin", "northing": 1.0, "easting": 2.0}}] * 2
    for database, query, named in [
        ({}, good, "list of runs"),
        (good, good[:1], "2 runs"),
        (good, [{0: {"query": "x", "northing": 1, "easting": 2, 1: [4]}}] * 2, "element 4"),
        (good, [{0: {"query": "x"}}] * 2, "northing and easting"),
    ]:
        with pytest.raises(VprError, match=named):
            EvaluationSplit.read(write(tmp_path / "d.pickle", database), write(tmp_path / "q.pickle", query))


# -- the folders as samples --------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    """Two runs of four training submaps with pictures, one in-house run."""
    rng = np.random.default_rng(7)
    index = {}
    for r, run in enumerate(["2014-05-19-13-20-57", "2014-06-26-09-24-58"]):
        folder = tmp_path / "oxford" / run / "pointcloud_20m_10overlap"
        folder.mkdir(parents=True)
        (tmp_path / "images" / run).mkdir(parents=True)
        lines = ["timestamp,northing,easting"]
        for i in range(4):
            t = 1400505893000000 + r * 10**12 + i * 10**6
            (folder / f"{t}.bin").write_bytes(rng.uniform(-1, 1, (4096, 3)).astype("<f8").tobytes())
            lines.append(f"{t},{HOME[0] + i * 10:.3f},{HOME[1] + r:.3f}")
            index[t] = [t + 100 * k for k in range(1, 21)]
            for stamp in index[t]:
                image = np.full((6, 8, 3), (stamp // 100) % 200, np.uint8)
                image[..., 2] = 250  # BGR: red
                cv2.imwrite(str(tmp_path / "images" / run / f"{stamp}.png"), image)
        (folder.parent / "pointcloud_locations_20m_10overlap.csv").write_text("\n".join(lines) + "\n")
    write(tmp_path / "images" / "lidar2image_ndx.pickle", index, 2)
    inhouse = tmp_path / "inhouse_datasets" / "business_run1" / "pointcloud_25m_25"
    inhouse.mkdir(parents=True)
    (inhouse / "12.bin").write_bytes(np.zeros((4096, 3)).tobytes())
    (inhouse.parent / "pointcloud_centroids_25.csv").write_text("timestamp,northing,easting\n12,363500.5,143400.25\n")
    return tmp_path


def all_paths(root):
    return [path for run in list_runs(root) for path in read_run(root, run, "train").paths]


def test_submaps_and_pictures_as_samples(root):
    assert list_runs(root) == ["2014-05-19-13-20-57", "2014-06-26-09-24-58"]
    paths = all_paths(root)
    samples = PointNetVLAD(root, paths, images=root / "images", conditions={"2014-05-19-13-20-57": "overcast"})
    assert isinstance(samples, SampleSet) and samples.cloud_unit == "normalised" and len(samples) == 8
    assert samples.headings_rad is None and set(samples.areas) == {"oxford"}
    assert samples.conditions.tolist() == ["overcast"] * 4 + [""] * 4
    np.testing.assert_allclose(
        samples.positions_m[5], [HOME[1] + 1 - ORIGINS["oxford"][1], HOME[0] + 10 - ORIGINS["oxford"][0]], atol=1e-6
    )
    sample = samples[5]
    expected = np.fromfile(root / paths[5], "<f8").reshape(4096, 3)
    np.testing.assert_array_equal(sample.cloud, expected.astype(np.float32))
    assert sample.cloud.dtype == np.float32 and sample.T_world_base is None
    stamp = int(paths[5].split("/")[-1][:-4])
    assert sample.stamp_ns == stamp * 1000 and sample.drive == "2014-06-26-09-24-58"
    assert sample.image.shape == (6, 8, 3) and sample.image[0, 0, 0] == 250
    assert sample.image[0, 0, 1] == ((stamp + 100) // 100) % 200  # the nearest
    drawn = {int(samples.get(5, np.random.default_rng(k)).image[0, 0, 1]) for k in range(200)}
    assert drawn == {((stamp + 100 * k) // 100) % 200 for k in range(1, 21)}
    assert PointNetVLAD(root, paths)[0].image is None


def test_splits_give_their_samples(root):
    runs = [read_run(root, run, "train") for run in list_runs(root)]
    paths, at = [p for r in runs for p in r.paths], np.concatenate([r.positions for r in runs])
    training = TrainingSplit.build(paths, at, squares=())
    assert training.positives[0].tolist() == [1, 4]  # 10 m on, and the same place in the other run; 10.05 m is too far
    samples = PointNetVLAD.training(root, training)
    assert samples.paths == paths and (samples.utm == at).all()
    split = EvaluationSplit.build(runs, squares=())
    database, queries = PointNetVLAD.database(root, split, 1), PointNetVLAD.queries(root, split, 0)
    assert set(database.drives) == {"2014-06-26-09-24-58"} and set(queries.drives) == {"2014-05-19-13-20-57"}
    # A split without positions (PointNetVLAD's own training pickle) takes them from the runs' tables.
    np.testing.assert_array_equal(PointNetVLAD(root, paths).utm, at)


def test_in_house_runs(root):
    assert list_runs(root, "inhouse_datasets") == ["business_run1"]
    run = read_run(root, "business_run1", "test", "inhouse_datasets")
    samples = PointNetVLAD(root, run.paths)
    assert samples.positions_m.tolist() == [[400.25, 500.5]] and set(samples.areas) == {"inhouse_datasets"}
    assert samples[0].cloud.shape == (4096, 3)


def test_what_is_missing_or_torn_is_told(root):
    paths = all_paths(root)
    folder = root / "oxford" / "2014-05-19-13-20-57"

    def told(call, *fragments):
        with pytest.raises(VprError) as error:
            call()
        assert "\n" not in str(error.value) and all(f in str(error.value) for f in fragments), error.value

    told(lambda: list_runs(root / "images"), "holds no runs", "pointcloud_20m_10overlap")
    told(lambda: read_run(root, "2014-05-19-13-20-57", "test"), "pointcloud_locations_20m.csv cannot be read")
    told(lambda: PointNetVLAD(root, ["oxford/x.bin"]), "<set>/<run>/<folder>/<digits>.bin")
    told(lambda: PointNetVLAD(root, ["kitti/a/b/1.bin"]), "oxford, inhouse_datasets")
    told(lambda: PointNetVLAD(root, ["oxford/2014-05-19-13-20-57/clouds/1.bin"]), "none of the benchmark's")
    told(lambda: PointNetVLAD(root, [paths[0].replace("893000000", "893000001")]), "not in its run's table")
    told(lambda: PointNetVLAD(root, paths, images=root), "lidar2image_ndx.pickle cannot be read")
    (root / paths[0]).write_bytes(b"0" * 1000)
    told(lambda: PointNetVLAD(root, paths)[0], "1000 bytes instead of 98304")
    (root / paths[0]).unlink()
    told(lambda: read_run(root, "2014-05-19-13-20-57", "train"), "lacks 1 of the 4 clouds")
    told(lambda: PointNetVLAD(root, paths, np.zeros((8, 2)))[0], "cannot be read")
    table = folder / "pointcloud_locations_20m_10overlap.csv"
    table.write_text("timestamp,northing\n1,2\n")
    told(lambda: read_run(root, "2014-05-19-13-20-57", "train"), "torn or no table")
    stamp = int(paths[5].split("/")[-1][:-4])
    (root / "images" / "2014-06-26-09-24-58" / f"{stamp + 100}.png").unlink()
    told(lambda: PointNetVLAD(root, paths[4:], images=root / "images")[1], f"{stamp + 100}.png")
    write(root / "images" / "lidar2image_ndx.pickle", {stamp: [1]})
    told(lambda: PointNetVLAD(root, paths[4:], images=root / "images"), "no picture for 3 of 4 submaps")
    write(root / "images" / "lidar2image_ndx.pickle", [1])
    told(lambda: PointNetVLAD(root, paths[4:], images=root / "images"), "no picture index")
