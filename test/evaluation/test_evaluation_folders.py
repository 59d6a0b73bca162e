import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.folders import (
    FolderConfig,
    PixelBaseline,
    evaluate_folders,
    list_images,
    rank_by_similarity,
)


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
    with pytest.raises(VprError, match="no images"):
        list_images(tmp_path / "empty")
    with pytest.raises(VprError, match="not a folder"):
        list_images(tmp_path / "none")
    fill(tmp_path / "other", range(50, 53))
    with pytest.raises(VprError, match="belong together"):
        evaluate_folders(PixelBaseline(), folders / "day", tmp_path / "other")
    (tmp_path / "empty" / "a.png").write_bytes(b"")
    with pytest.raises(VprError, match="readable image"):
        evaluate_folders(PixelBaseline(), tmp_path / "empty", folders / "day")


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
