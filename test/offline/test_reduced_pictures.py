"""Large JPEGs of a bag are mapped and localised as the node would see them."""

import numpy as np
import pytest
from pixel_street import PixelExtractor, panorama

from vpr_ros.configuration import GateConfig
from vpr_ros.offline.localize_bag import LocalizeBagConfig, localize_bag
from vpr_ros.offline.map_bag import MapBagConfig, map_bag
from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import BagWriter, DriveTopics, compressed_image_msg
from vpr_ros.sensors.camera_pictures import camera_picture

SECOND = 10**9
TOPICS = DriveTopics(odom="none", pose="none")


class SmallInput(PixelExtractor):
    """Says what it needs and keeps the shapes of the pictures that it is given."""

    preprocessing = {"height": 24, "width": 32}

    def __init__(self):
        self.seen = []

    def prepare(self, image):
        self.seen.append(image.shape[:2])
        return super().prepare(image)


@pytest.fixture
def bag(tmp_path):
    """Three pictures of 80x60 pixels."""
    wall = panorama(5)
    with BagWriter(tmp_path / "bag", "mcap") as writer:
        for i in range(3):
            msg = compressed_image_msg(wall[:, 300 * i : 300 * i + 80], SECOND * (i + 1))
            writer.write("/camera/image/compressed", msg, SECOND * (i + 1))
    return tmp_path / "bag"


def test_the_map_and_the_queries_see_what_the_node_sees(bag, tmp_path):
    extractor, town = SmallInput(), tmp_path / "town.vpr"
    map_bag(bag, town, extractor, MapBagConfig(TOPICS, GateConfig(every_n=1), local_features="sift"))
    assert (30, 40) in extractor.seen and (60, 80) not in extractor.seen
    with PlaceMap.open(town) as place_map:
        rows, found = place_map.keyframes().descriptors, place_map.features(1)
    wall = panorama(5)
    live = [
        camera_picture(compressed_image_msg(wall[:, 300 * i : 300 * i + 80], 0), 0, (24, 32)).pixels for i in range(3)
    ]
    np.testing.assert_array_equal(rows, extractor.describe(live))
    assert found is not None and found.pixels[:, 0].max() > 40  # of the whole picture
    extractor.seen.clear()
    result = localize_bag(bag, town, tmp_path / "run", extractor, LocalizeBagConfig(topics=TOPICS))
    assert result.frames == 3 and extractor.seen[0] == (30, 40)
