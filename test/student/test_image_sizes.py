"""Images too small to show a place are refused, whatever way they come; a 1x1 image was answered without a word."""

import cv2
import numpy as np
import pytest

from vpr_ros.errors import FrameError
from vpr_ros.observation import Observation
from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map.describer import described
from vpr_ros.sensors import BagWriter, image_msg
from vpr_ros.student import DescriptorExtractor

SECOND = 10**9


@pytest.fixture(scope="module")
def nano():
    return DescriptorExtractor.from_checkpoint("nano", device="cpu")


def noise(height, width):
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 640), (480, 1), (15, 640), (480, 15), (0, 0), (0, 640)])
def test_too_small(nano, height, width):
    with pytest.raises(FrameError, match=rf"{width}x{height} pixels shows no place: both sides need 16 pixels"):
        nano.describe([noise(height, width)])


@pytest.mark.parametrize("height, width", [(16, 16), (16, 640), (480, 16)])
def test_small_but_an_image(nano, height, width):
    assert np.isfinite(nano.describe([noise(height, width)]).astype(float)).all()


def test_one_of_a_batch_is_refused_alone(nano):
    frames = [Observation(i, noise(*size)) for i, size in enumerate([(48, 64), (1, 1), (48, 64)])]
    results = [result for _, result in described(nano, frames)]
    assert [isinstance(result, FrameError) for result in results] == [False, True, False]


def test_offline_they_are_counted_with_the_sentence(nano, tmp_path):
    from vpr_ros.offline.localize_bag import localize_bag
    from vpr_ros.offline.map_bag import map_bag

    with BagWriter(tmp_path / "bag") as writer:
        for i in range(6):
            picture = noise(1, 1) if i in (0, 3) else noise(48, 64)
            writer.write("/camera", image_msg(picture, SECOND * (i + 1)), SECOND * (i + 1))
    mapped = map_bag(tmp_path / "bag", tmp_path / "m.vpr", nano)
    answered = localize_bag(tmp_path / "bag", tmp_path / "m.vpr", tmp_path / "run", nano)
    for result in (mapped, answered):
        assert result.skipped == {"frame unusable": 2} and "1x1 pixels" in result.first_errors["frame unusable"]
    assert answered.frames == 4
    with PlaceMap.open(tmp_path / "m.vpr") as place_map:
        assert 0 < len(place_map) <= 4


def test_in_a_folder_they_are_left_out_and_counted(nano, tmp_path):
    from vpr_ros.evaluation.protocols.folders import describe_files

    files = [tmp_path / f"{i}.png" for i in range(5)]
    for i, file in enumerate(files):
        cv2.imwrite(str(file), noise(1, 1) if i == 2 else noise(48, 64))
    found = describe_files(nano, files, batch_size=4)
    assert found.unreadable == 1 and found.rows.tolist() == [0, 1, 3, 4] and len(found.descriptors) == 4
