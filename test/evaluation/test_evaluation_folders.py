import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.folders import (
    FolderConfig,
    HogBaseline,
    PixelBaseline,
    evaluate_folders,
    rank_by_similarity,
)
from vpr_ros.sensors.picture_files import list_pictures


def scene(seed, gain=1.0, offset=0.0):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 190, (6, 8, 3)).astype(np.float32)
    image = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
    return np.clip(image * gain + offset, 0, 255).astype(np.uint8)


def fill(folder, seeds, **light):
    folder.mkdir()
    for seed in seeds:
        cv2.imwrite(str(folder / f"{seed:03d}.png"), scene(seed, **light))


@pytest.fixture
def folders(tmp_path):
    fill(tmp_path / "day", range(12))
    fill(tmp_path / "dusk", range(12), gain=0.5, offset=20)
    return tmp_path


def test_pixels_find_the_same_scene_in_other_light(folders):
    result = evaluate_folders(PixelBaseline(), folders / "day", folders / "dusk")
    assert result.recall == {1: 1.0, 5: 1.0, 10: 1.0, 25: 1.0}
    assert (result.queries, result.database) == (12, 12)
    assert result.skipped == {} and result.images_per_second > 0


def test_pixel_descriptor_against_plain_loops():
    image = scene(4)
    got = PixelBaseline((16, 24), patch=8).describe([image])[0].astype(float)
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (24, 16), interpolation=cv2.INTER_AREA).astype(float)
    out = np.zeros((16, 24))
    for y in (0, 8):
        for x in (0, 8, 16):
            block = grey[y : y + 8, x : x + 8]
            out[y : y + 8, x : x + 8] = (block - block.mean()) / (block.std() + 1)
    np.testing.assert_allclose(got, (out / np.linalg.norm(out)).ravel(), atol=1e-3)
    flat = PixelBaseline().describe([np.full((20, 20, 3), 9, np.uint8)])
    assert flat.dtype == np.float16 and not flat.any()


def test_hog_against_plain_loops():
    image = scene(5)
    got = HogBaseline((16, 24), cell=8).describe([image])[0].astype(float)
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (24, 16), interpolation=cv2.INTER_AREA).astype(float)
    cells = np.zeros((2, 3, 9))
    for y in range(16):
        for x in range(24):
            # central differences, one-sided at the border
            top, bottom, left, right = max(y - 1, 0), min(y + 1, 15), max(x - 1, 0), min(x + 1, 23)
            dy = (grey[bottom, x] - grey[top, x]) / (bottom - top)
            dx = (grey[y, right] - grey[y, left]) / (right - left)
            degrees = np.degrees(np.arctan2(dy, dx)) % 180
            for number in range(9):
                away = min(abs(degrees - 20 * number), 180 - abs(degrees - 20 * number))
                cells[y // 8, x // 8, number] += max(0, 1 - away / 20) * np.hypot(dx, dy)
    out = []
    for column in range(2):
        block = np.concatenate([cells[row, column + side] for row in (0, 1) for side in (0, 1)])
        out.append(block / (np.linalg.norm(block) + 64))
    np.testing.assert_allclose(got, np.concatenate(out) / np.linalg.norm(out), atol=1e-3)


def test_hog_finds_scenes_by_their_edges(folders):
    assert evaluate_folders(HogBaseline(), folders / "day", folders / "dusk").recall[1] == 1.0
    rows = HogBaseline().describe([scene(4), scene(4)[::-1] // 2 + 90, np.full((20, 20, 3), 9, np.uint8)])
    assert rows.dtype == np.float16 and rows.shape == (3, 5 * 7 * 36) and not rows[2].any()
    assert rows[0].astype(float) @ rows[1].astype(float) < 0.9
    with pytest.raises(ValueError, match="multiple"):
        HogBaseline((60, 128))


def test_bad_files_are_counted_and_frame_numbers_survive_them(folders):
    (folders / "day" / "003.png").write_bytes(b"")
    (folders / "dusk" / "005.png").write_bytes(b"not an image")
    result = evaluate_folders(PixelBaseline(), folders / "day", folders / "dusk", FolderConfig(truth="frames:0"))
    assert result.skipped == {"unreadable": 2}
    assert result.queries == 10 and result.database == 11 and result.recall[1] == 1.0  # query 3 lost its only answer
    missed = evaluate_folders(PixelBaseline(), folders / "day", folders / "dusk", FolderConfig("frames:0", mode="miss"))
    assert missed.queries == 11 and missed.recall[1] == pytest.approx(10 / 11)


def test_a_dark_image_takes_its_pair_with_it(folders):
    cv2.imwrite(str(folders / "dusk" / "007.png"), np.full((120, 160, 3), 12, np.uint8))
    result = evaluate_folders(PixelBaseline(), folders / "day", folders / "dusk", FolderConfig(min_grey=30))
    assert (result.queries, result.database, result.skipped) == (11, 11, {"too dark": 2})


def test_folders_that_do_not_fit_are_sentences(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VprError, match="holds no pictures"):
        list_pictures(tmp_path / "empty")
    with pytest.raises(VprError, match="not a folder"):
        list_pictures(tmp_path / "none")
    fill(tmp_path / "other", range(50, 53))
    with pytest.raises(VprError, match="belong together"):
        evaluate_folders(PixelBaseline(), folders / "day", tmp_path / "other")
    (tmp_path / "empty" / "a.png").write_bytes(b"")
    with pytest.raises(VprError, match="readable image"):
        evaluate_folders(PixelBaseline(), tmp_path / "empty", folders / "day")


class Table:
    """Describes a picture by the row that its grey level numbers; two parts."""

    name, parts = "table", (5, 3)

    def __init__(self, rows):
        self.rows = rows

    def describe(self, images):
        return self.rows[[int(image[0, 0, 0]) for image in images]]


def test_folders_without_their_means_against_a_plain_loop(tmp_path):
    """Two folders whose pictures differ by one vector each, which hides the places."""
    rng = np.random.default_rng(1)
    content = rng.normal(size=(60, 8))
    rows = np.concatenate([content + 2 * rng.normal(size=8), content + 2 * rng.normal(size=8)])
    for part in (slice(0, 5), slice(5, 8)):
        rows[:, part] *= np.sqrt(0.5) / np.linalg.norm(rows[:, part], axis=1, keepdims=True)
    for name, first in (("a", 0), ("b", 60)):
        (tmp_path / name).mkdir()
        for i in range(60):
            cv2.imwrite(str(tmp_path / name / f"{i:02d}.png"), np.full((8, 8, 3), first + i, np.uint8))
    table, folders = Table(rows.astype(np.float32)), (tmp_path / "a", tmp_path / "b")

    def without(row, constant):
        out = []
        for part in (slice(0, 5), slice(5, 8)):
            rest = row[part] - constant[part]
            out.extend(rest / np.linalg.norm(rest) * np.linalg.norm(row[part]))
        return np.array(out)

    constant, hits = rows[:60].sum(axis=0) / 70, 0
    for i in range(60):
        kept = [np.exp(-(i - 1 - j) / 15) for j in range(i)]
        total = 10 * constant + sum((k * rows[60 + j] for j, k in enumerate(kept)), np.zeros(8))
        asked = without(rows[60 + i], total / (10 + sum(kept)))
        hits += int(np.argmax([without(row, constant) @ asked for row in rows[:60]]) == i)
    plain = evaluate_folders(table, *folders, FolderConfig(ns=(1,)))
    found = evaluate_folders(table, *folders, FolderConfig(ns=(1,), drive_mean_frames=15))
    assert found.recall[1] == pytest.approx(hits / 60) and found.recall[1] > 1.5 * plain.recall[1]
    with pytest.raises(VprError, match="unit length"):
        evaluate_folders(table, *folders, FolderConfig(measure="euclidean", drive_mean_frames=15))


def test_exact_search_against_sorting_with_ties():
    rng = np.random.default_rng(0)
    database = rng.integers(0, 3, (40, 4)).astype(np.float32)
    queries = rng.integers(0, 3, (700, 4)).astype(np.float32)  # more than one block
    positives = [rng.permutation(40)[: rng.integers(0, 3)] for _ in queries]
    ranks = rank_by_similarity(queries, database, positives)
    for q in range(0, 700, 11):
        scores = [float(queries[q] @ d) for d in database]
        order = sorted(range(40), key=lambda r: (-scores[r], r in positives[q]))
        expected = next((i + 1 for i, r in enumerate(order) if r in positives[q]), 0)
        assert ranks[q] == expected
