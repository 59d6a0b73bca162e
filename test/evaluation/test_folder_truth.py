"""A truth file for two folders: tables, and the arrays of training repositories, read without running them."""

import os
import pickle

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.folder_truth import truth_for_folders
from vpr_ros.evaluation.protocols.folders import FolderConfig, PixelBaseline, evaluate_folders
from vpr_ros.evaluation.protocols.image_sets import truth_of_set

REFERENCES, QUERIES = 27592, 2760  # Nordland as training repositories ship it: every tenth frame, renumbered


def npy(path, rows, protocol=3, version=(1, 0)):
    """An .npy file of an array of objects, as `np.save` writes it with the pickle protocol of its day."""
    array = np.empty(len(rows), object)
    array[:] = rows
    write_header = {(1, 0): np.lib.format.write_array_header_1_0, (2, 0): np.lib.format.write_array_header_2_0}[version]
    with path.open("wb") as stream:
        write_header(stream, {"descr": "|O", "fortran_order": False, "shape": array.shape})
        pickle.dump(array, stream, protocol=protocol)
    return path


def lists(truth):
    return [positives.tolist() for positives in truth.positives]


@pytest.fixture(scope="module")
def nordland(tmp_path_factory):
    """File names of both folders, the right references of each query, and their file."""
    right = [[r for r in (10 * k - 1, 10 * k, 10 * k + 1) if 0 <= r < REFERENCES] for k in range(QUERIES)]
    path = npy(tmp_path_factory.mktemp("nordland") / "Nordland_gt.npy", [np.array(row) for row in right])
    names = [[f"{folder}/{i:07d}.jpg" for i in range(n)] for folder, n in (("query", QUERIES), ("ref", REFERENCES))]
    return (*names, right, path)


def test_nordland_of_training_repositories(nordland):
    queries, references, right, path = nordland
    assert lists(truth_for_folders(str(path), queries, references)) == right
    by_number = sum(k in row for k, row in enumerate(right))
    assert by_number == 1 and sum(k + 1 in row for k, row in enumerate(right)) == 1  # why raw numbers never pair
    for refused in (
        lambda: truth_for_folders("frames:1", queries, references),
        lambda: truth_for_folders("frames:10", queries, references),
        lambda: truth_of_set("nordland", queries, references),
        lambda: truth_of_set("nordland-1", queries, references),
    ):
        with pytest.raises(VprError, match="2760 query and 27592 reference pictures.*different length"):
            refused()


def test_numpys_own_reading_agrees_for_every_protocol(tmp_path):
    rng = np.random.default_rng(0)
    rows = [np.unique(rng.integers(0, 50, rng.integers(0, 6))) for _ in range(30)]
    queries, references = ([f"{i}.jpg" for i in range(n)] for n in (30, 50))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        for kind, given_rows in {
            "arrays": rows,
            "lists": [row.tolist() for row in rows],
            "tuples": [tuple(row.tolist()) for row in rows],
            "narrow": [row.astype(">i2") for row in rows],
        }.items():
            path = npy(tmp_path / f"{kind}{protocol}.npy", given_rows, protocol, (1 + protocol % 2, 0))
            assert [list(row) for row in np.load(path, allow_pickle=True)] == [row.tolist() for row in rows]
            truth = truth_for_folders(str(path), queries, references)
            assert lists(truth) == [row.tolist() for row in rows], (kind, protocol)
            assert truth.known.all() and truth.off_map.tolist() == [not len(row) for row in rows]
    np.save(tmp_path / "saved.npy", np.array([np.array([1, 2]), np.array([3])] * 15, dtype=object), allow_pickle=True)
    assert lists(truth_for_folders(str(tmp_path / "saved.npy"), queries, references))[:2] == [[1, 2], [3]]


def test_arrays_of_integers_and_booleans(tmp_path):
    queries, references = [f"{i}.jpg" for i in range(4)], [f"{i}.jpg" for i in range(9)]
    expected = [[8], [0], [], [3]]
    matrix = np.zeros((4, 9), bool)
    matrix[[0, 1, 3], [8, 0, 3]] = True
    for number, array in enumerate(
        (
            np.array([8, 0, -1, 3]),
            np.array([[8], [0], [-1], [3]]),  # as SPED and ESSEX have it
            np.array([[8, -1, -1], [0, -1, -1], [-1, -1, -1], [3, 3, -1]]),
            np.array([[3, 3], [0, 8], [2, -1], [1, 0]]),  # pairs
            matrix,
        )
    ):
        np.save(tmp_path / f"{number}.npy", array)
        assert lists(truth_for_folders(str(tmp_path / f"{number}.npy"), queries, references)) == expected, number
    np.save(tmp_path / "two.npy", np.array([[0, 1], [1, 2], [2, 3], [2, 4]]))
    with pytest.raises(VprError, match="pairs or two references each"):
        truth_for_folders(str(tmp_path / "two.npy"), queries, references)
    wide = truth_for_folders(str(tmp_path / "0.npy"), queries, references, tolerance=1)
    assert lists(wide)[:2] == [[7, 8], [0, 1]]


@pytest.mark.parametrize(
    "table, expected",
    [
        ("query_name,reference_name,tolerance\nq/a.jpg,r/c.jpg,1\nb.jpg,\n", [[1, 2], [], None]),
        ("a.jpg,c.png\na.jpg,a\nc,b\n", [[0, 2], None, [1]]),
        ("query_frame,reference_frame\n0,2\n1,-1\n2,0\n", [[2], [], [0]]),
    ],
)
def test_tables(tmp_path, table, expected):
    (tmp_path / "truth.csv").write_text(table)
    truth = truth_for_folders(
        str(tmp_path / "truth.csv"), ["q/a.jpg", "q/b.jpg", "q/c.jpg"], ["r/a.jpg", "r/b.jpg", "r/c.jpg"]
    )
    assert truth.known.tolist() == [row is not None for row in expected]
    assert lists(truth) == [row or [] for row in expected]


def test_names_that_mean_several_pictures(tmp_path):
    table = tmp_path / "truth.csv"
    references = ["r/cam0/1.jpg", "r/cam1/1.jpg", "r/cam1/2.jpg"]
    table.write_text("query_name,reference_name\nq/cam0/1.jpg,cam1/1.jpg\ncam1/1.jpg,2.jpg\n")
    assert lists(truth_for_folders(str(table), ["q/cam0/1.jpg", "q/cam1/1.jpg"], references)) == [[1], [2]]
    for row, words in (("1.jpg,2.jpg", "2 pictures named '1.jpg'"), ("cam0/1.jpg,1.jpg", "several pictures.*'1.jpg'")):
        table.write_text(f"query_name,reference_name\n{row}\n")
        with pytest.raises(VprError, match=f"line 2.*{words}.*which one"):
            truth_for_folders(str(table), ["q/cam0/1.jpg", "q/cam1/1.jpg"], references)


def test_tables_that_do_not_fit_folders(tmp_path):
    names = ["a1.jpg", "a2.jpg"]
    for text in ("100,200\n", "query_stamp,reference_stamp\n100,200\n", ""):
        (tmp_path / "stamps.csv").write_text(text)
        with pytest.raises(VprError, match="stamps.csv.*no stamps"):
            truth_for_folders(str(tmp_path / "stamps.csv"), names, names)
    np.save(tmp_path / "long.npy", np.arange(3))
    with pytest.raises(VprError, match=r"long.npy.*shape \(3,\).*2 pictures"):
        truth_for_folders(str(tmp_path / "long.npy"), names, names)
    for bad in ("utm:far", "gone.npy", "pairs"):
        with pytest.raises(VprError, match="--truth|does not exist"):
            truth_for_folders(bad, names, names)


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_malicious_array_runs_nothing(tmp_path, protocol):
    mark, names = tmp_path / "ran", ["1.jpg", "2.jpg"]
    path = npy(tmp_path / "evil.npy", [np.array([1]), [Evil(mark)]], protocol)
    with pytest.raises(VprError, match=r"evil.npy.*system, which plain values do not need"):
        truth_for_folders(str(path), names, names)
    assert not mark.exists()
    np.load(path, allow_pickle=True)
    assert mark.exists()  # read in the ordinary way it would have run


@pytest.mark.parametrize("row", ["text", 1.5, None, {"a": 1}, [True], np.array([0.5]), [[0]], 2**70])
def test_rows_that_are_no_numbers(tmp_path, row):
    with pytest.raises(VprError, match="truth.npy") as error:
        truth_for_folders(str(npy(tmp_path / "truth.npy", [[0], row])), ["1.jpg", "2.jpg"], ["1.jpg", "2.jpg"])
    assert "\n" not in str(error.value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_that_were_changed_give_an_answer_or_a_sentence(tmp_path, data):
    whole = npy(tmp_path / "whole.npy", [np.array([0, 1]), [1], np.array([2])]).read_bytes()
    torn = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if torn:
            torn[data.draw(st.integers(0, len(torn) - 1))] = data.draw(st.integers(0, 255))
    path, names = tmp_path / "torn.npy", ["1.jpg", "2.jpg", "3.jpg"]
    path.write_bytes(bytes(torn))
    try:
        assert len(truth_for_folders(str(path), names, names)) == 3
    except VprError as error:
        assert "\n" not in str(error)


def test_recall_by_a_truth_file(tmp_path):
    """Forty references, every tenth of them asked for again and renumbered."""
    rng = np.random.default_rng(2)
    scenes = [
        cv2.resize(rng.uniform(30, 220, (6, 8, 3)).astype(np.float32), (64, 48)).astype(np.uint8) for _ in range(40)
    ]
    for folder, step in (("ref", 1), ("query", 10)):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(scenes[::step]):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), image)
        (tmp_path / folder / "._0.png").write_bytes(b"\0\5\x16\7")
        (tmp_path / folder / "preview.png").write_bytes(b"")
    path = npy(tmp_path / "gt.npy", [np.array([10 * k]) for k in range(4)])
    result = evaluate_folders(
        PixelBaseline(), tmp_path / "ref", tmp_path / "query", FolderConfig(truth=str(path), ns=(1,))
    )
    assert result.recall == {1: 1.0} and (result.queries, result.database) == (4, 40) and result.ranks == (1,) * 4
    assert [file.name for file in result.query_files] == ["0.png", "1.png", "2.png", "3.png"]
