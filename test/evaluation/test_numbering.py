"""`frames:K` of two folders: numbers or order, decided for both at once, and what is refused by name."""

import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.numbering import OUT, frame_rows, numbers_in_step
from vpr_ros.evaluation.protocols.folders import FolderConfig, PixelBaseline, evaluate_folders
from vpr_ros.sensors.picture_files import list_pictures


def scene(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).uniform(30, 220, (6, 8, 3)).astype(np.float32)
    image = cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture
def walks(tmp_path):
    """`db1.png` to `db17.png` and the same pictures as `q1.png` to `q17.png`."""
    for folder, name in (("db", "db"), ("q", "q")):
        (tmp_path / folder).mkdir()
        for number in range(1, 18):
            (tmp_path / folder / f"{name}{number}.png").write_bytes(scene(number))
    return tmp_path


def recall(walks, **options) -> float:
    config = FolderConfig(truth="frames:0", ns=(1,), **options)
    return evaluate_folders(PixelBaseline(), walks / "db", walks / "q", config).recall[1]


JUNK = b"\0\5\x16\7"
BESIDE = ("._db1.png", "preview.jpg", "a_preview.png", "db18.png", "db0.jpg", "db5.jpg", "db5 copy.png", "notes.txt")


def test_identical_pictures_are_found_whatever_lies_beside_them(walks):
    assert recall(walks) == 1.0
    for name in BESIDE:  # 0.059 and 0.000 when each folder was numbered alone
        for folder in ("db", "q"):
            (walks / folder / name).write_bytes(JUNK)
            assert recall(walks) == 1.0, (folder, name)
            (walks / folder / name).unlink()
    for folder in ("db", "q"):
        for name in BESIDE:
            (walks / folder / name).write_bytes(JUNK)
    assert recall(walks) == 1.0


@pytest.mark.parametrize("name", ["preview.png", "a_preview.png", "z.png"])
@pytest.mark.parametrize("folder", ["db", "q"])
def test_a_picture_without_a_number_among_numbered_ones_is_named(walks, folder, name):
    (walks / folder / name).write_bytes(scene(99))
    with pytest.raises(VprError, match=rf"{name} has no number.*17 of the 18 have.*take it out"):
        recall(walks)


def test_two_pictures_of_one_number_are_named(walks):
    (walks / "db" / "db5 copy.png").write_bytes(scene(5))
    with pytest.raises(VprError, match=r"db5 copy.png and db5.png have the same number 5"):
        recall(walks)
    (walks / "db" / "db17.png").unlink()  # as many again, and one out of step from the fifth on
    with pytest.raises(VprError, match=r"db5 copy.png and db5.png have the same number 5"):
        recall(walks)


def test_a_torn_frame_keeps_its_place(walks):
    for folder, number in (("db", 3), ("q", 17)):
        path = next((walks / folder).glob(f"*[a-z]{number}.png"))
        path.write_bytes(path.read_bytes()[:60])
    result = evaluate_folders(PixelBaseline(), walks / "db", walks / "q", FolderConfig(truth="frames:0", ns=(1,)))
    assert result.recall[1] == 1.0 and (result.queries, result.database) == (15, 16)
    assert result.skipped == {"unreadable": 2}
    for number in range(1, 18):  # the same by order: no name has a number
        for folder in ("db", "q"):
            path = next((walks / folder).glob(f"*[a-z]{number}.png"))
            path.rename(path.with_name(f"{chr(96 + number)}.png"))
    result = evaluate_folders(PixelBaseline(), walks / "db", walks / "q", FolderConfig(truth="frames:0", ns=(1,)))
    assert result.recall[1] == 1.0 and result.queries == 15


@pytest.mark.parametrize(
    "queries, database, numbers",
    [
        # by number: one scheme in both
        (["q1", "q2", "q10"], ["db1", "db2", "db10"], ([1, 2, 10], [1, 2, 10])),
        (["a0", "a3", "a4", "a9"], ["b0", "b1", "b4", "b9"], ([0, 3, 4, 9], [0, 1, 4, 9])),  # each with holes
        (["left_007_v2", "left_008_v2"], ["right_007_v3", "right_008_v3"], ([7, 8], [7, 8])),
        (["x_2_b", "y_1_b"], ["x_1_b", "y_2_b"], ([2, 1], [1, 2])),
        # by order: nothing in common, or no numbers
        (["DSC018", "DSC019"], ["DSC001", "DSC002"], ([0, 1], [0, 1])),
        (["a", "b", "c"], ["d", "e", "f"], ([0, 1, 2], [0, 1, 2])),
        (["a", "b"], ["1", "2"], ([0, 1], [0, 1])),
        (["10-59-58", "10-59-59", "11-00-58"], ["9-00-01", "9-00-02", "9-01-01"], ([0, 1, 2], [0, 1, 2])),
        (["only1"], ["only1"], ([1], [1])),
    ],
)
def test_numbers_or_order(queries, database, numbers):
    found = numbers_in_step([f"{q}.jpg" for q in queries], [f"{d}.png" for d in database])
    assert tuple(each.tolist() for each in found) == numbers


@pytest.mark.parametrize(
    "queries, database, words",
    [
        (["q0", "q1"], ["db1", "db2"], "numbered 0 to 1 and the references 1 to 2.*cannot be told"),
        (["q0", "q1"], ["db0", "db1", "db2"], "2 query and 3 reference.*none of different length.*pairs.csv"),
        (["a", "b"], ["c"], "2 query and 1 reference"),
        (["f1a2", "f2a2", "f3a2"], ["f1", "x1", "f2"], "f1.png and x1.png have the same number 1"),
        (["1", "b"], ["1", "2"], "query picture b.png has no number in its name, and 1 of the 2 have"),
    ],
)
def test_what_cannot_be_told_is_refused(queries, database, words):
    with pytest.raises(VprError, match=words):
        numbers_in_step([f"{q}.png" for q in queries], [f"{d}.png" for d in database])


def test_files_that_are_no_frames(walks):
    (walks / "db" / "preview.png").write_bytes(JUNK)
    files = list_pictures(walks / "db")
    assert files[-1].name == "preview.png" and frame_rows(files, "reference").tolist() == list(range(17))
    asked, numbers = numbers_in_step(list_pictures(walks / "q"), files)
    assert asked.tolist() == list(range(1, 18)) and numbers.tolist() == [*range(1, 18), OUT]
