"""Local features in a pipeline: made once a frame and when they are asked for, of the map's kind, and one sentence."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from pixel_street import PixelExtractor, observations, panorama

from vpr_ros.configuration import GateConfig
from vpr_ros.errors import VprError
from vpr_ros.geometry import rigid_transform
from vpr_ros.local_features import opening
from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map.schema import put_meta
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors.cameras import Camera

CAMERA = Camera(np.array([[70.0, 0, 40], [0, 70, 30], [0, 0, 1]]), 80, 60, np.zeros(0))
T_BASE_CAMERA = rigid_transform(np.eye(3), [0.3, 0, 1.0])


def opened(path, health=None, **changes):
    config = PipelineConfig(map_path=path, **changes)
    return Pipeline.open(config, health or Health(), PixelExtractor())


def street(metres):
    frames = observations(panorama(3), metres)
    return [replace(one, camera=CAMERA, T_base_camera=T_BASE_CAMERA) for one in frames]


@pytest.fixture
def town(tmp_path):
    path = tmp_path / "town.vpr"
    with opened(path, mode="map", local_features="sift") as pipeline:
        for frame in street(range(0, 20, 2)):
            pipeline.process(frame)
    return path


def test_each_keyframe_gets_the_features_of_its_picture_and_no_other_frame_any(tmp_path):
    health, path = Health(), tmp_path / "town.vpr"
    with opened(path, health, mode="map", local_features="sift") as pipeline:
        frames = street(np.arange(0, 8, 0.5))
        answers = [pipeline.process(frame) for frame in frames]
        made = [answer for answer in answers if answer.keyframe_id is not None]
        assert 1 < len(made) < len(frames)
        assert health.timing("local features").count == len(made)
        assert "SIFT" in pipeline.features.sentence
        for answer in made:
            kept, fresh = pipeline.place_map.features(answer.keyframe_id), answer.features.get()
            assert fresh is answer.features.get()
            assert np.abs(kept.pixels - fresh.pixels[: len(kept)]).max() < 0.01 and len(kept) > 5
            assert kept.camera.to_dict() == CAMERA.to_dict()
            np.testing.assert_allclose(kept.T_base_camera, T_BASE_CAMERA)
        assert health.timing("local features").count == len(made)


def test_a_reduced_picture_has_the_features_of_the_whole_one(tmp_path):
    (frame,) = street([2.0])
    reduced = replace(frame, image=cv2.resize(frame.image, (40, 30)), whole=lambda: frame.image)
    found = []
    for number, one in enumerate((frame, reduced)):
        with opened(tmp_path / f"{number}.vpr", mode="map", local_features="sift") as pipeline:
            found.append(pipeline.place_map.features(pipeline.process(one).keyframe_id or 0))
    assert len(found[0]) > 5 and np.array_equal(found[0].pixels, found[1].pixels)
    assert found[1].camera.to_dict() == CAMERA.to_dict()


def test_localising_makes_them_of_the_maps_kind_when_they_are_asked_for(town):
    health = Health()
    with opened(town, health) as pipeline:
        answers = [pipeline.process(frame) for frame in street([1.0, 3.0])]
        assert health.timing("local features") is None
        assert answers[0].features.get().kind == "sift" == pipeline.place_map.local_features
        assert health.timing("local features").count == 1
    with opened(town, local_features="none") as pipeline:
        assert pipeline.process(street([1.0])[0]).features.get() is None


def test_a_kind_that_is_not_the_maps_is_refused_and_a_map_without_gets_none(town, tmp_path):
    for mode in ("localize", "map"):
        with pytest.raises(VprError, match=f"{town} has local features of the kind sift, with which xfeat cannot"):
            opened(town, mode=mode, local_features="xfeat")
    with pytest.raises(VprError, match="local features are one of auto, xfeat, sift, none, or a file"):
        opened(town, local_features="orb")
    bare = tmp_path / "bare.vpr"
    with opened(bare, mode="map", local_features="none") as pipeline:
        for frame in street([0.0, 5.0]):
            pipeline.process(frame)
    with PlaceMap.open(bare) as place_map:
        assert place_map.local_features is None and not place_map.has_features
    with opened(bare) as pipeline:
        assert pipeline.process(street([1.0])[0]).features.get() is None
        assert pipeline.features.sentence == "no local features: the map has none"


def test_without_the_extra_sift_stands_in_and_a_map_by_xfeat_works_as_one_without(town, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    new = tmp_path / "new.vpr"
    with opened(new, mode="map") as pipeline:
        assert pipeline.features.extractor.kind == "sift"
        assert "SIFT; XFeat cannot be used (kornia is not installed): pip install" in pipeline.features.sentence
    with PlaceMap.open(town, writable=True) as place_map, place_map.edit() as db:
        put_meta(db, "local_features", "xfeat")
    with opened(town) as pipeline:
        assert pipeline.process(street([1.0])[0]).features.get() is None
        sentence = pipeline.features.sentence
    assert "the map's local features are not used: XFeat cannot be used (kornia is not installed)" in sentence


def test_sensors_tell_the_depth_of_a_keyframe_and_clouds_are_kept_where_that_is_asked_for(tmp_path):
    """A wall 5 m ahead by LiDAR; the depth image, which goes first, has it at 4 m in the left half alone."""
    y, x = np.mgrid[-4:4:0.1, -4:4:0.1]
    wall = np.column_stack([x.ravel() + 0.3, y.ravel(), np.full(x.size, 6.0)]).astype(np.float32)
    image = np.full((60, 80), np.nan, np.float32)
    image[:, :40] = 4.0
    for keep in (False, True):
        path = tmp_path / f"{keep}.vpr"
        with opened(path, mode="map", local_features="sift", keep_clouds=keep) as pipeline:
            for frame, depth in zip(street([0.0, 5.0, 10.0]), (None, image, None), strict=True):
                pipeline.process(replace(frame, cloud=wall, depth=depth))
        with PlaceMap.open(path) as place_map:
            assert place_map.has_clouds == keep
            for keyframe_id in (1, 2, 3):
                found = place_map.features(keyframe_id)
                left = found.pixels[:, 0] < 35
                wanted = np.where(left & (keyframe_id == 2), 4.0, 5.0)
                certain = found.has_depth & (left | (found.pixels[:, 0] > 45))
                assert certain.sum() >= 4
                np.testing.assert_allclose(found.depth_m[certain], wanted[certain], rtol=2e-3)


def test_without_such_sensors_odometry_tells_depth_once_there_is_a_keyframe_before(tmp_path):
    """Street pictures of a plane: what matches has a depth or none, and no keyframe without odometry has any."""
    path = tmp_path / "town.vpr"
    with opened(path, mode="map", local_features="sift") as pipeline:
        for frame in street(range(0, 8, 2)):
            pipeline.process(frame)
    with PlaceMap.open(path) as place_map:
        assert [place_map.features(i).depth_m is None for i in (1, 2, 3, 4)] == [True, False, False, False]
    path = tmp_path / "walk.vpr"
    with opened(path, mode="map", local_features="sift", gate=GateConfig(every_n=1)) as pipeline:
        for frame in street(range(0, 8, 2)):
            pipeline.process(replace(frame, T_odom_base=None))
    with PlaceMap.open(path) as place_map:
        assert [place_map.features(i).depth_m for i in (1, 2, 3, 4)] == [None] * 4


def test_odometry_tells_what_a_depth_image_leaves_open(tmp_path):
    """A camera that looks aside at a wall: 10 pixels a metre by a focal length of 70 pixels, that is, 7 m away."""
    noise = cv2.GaussianBlur(np.random.default_rng(5).normal(size=(60, 400, 3)), (0, 0), 1.5)
    wall = np.clip(128 + noise / noise.std() * 45, 0, 255).astype(np.uint8)
    aside = rigid_transform(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), [0.3, 0, 1.0])
    image = np.full((60, 80), np.nan, np.float32)
    image[:, :40] = 6.5
    path = tmp_path / "wall.vpr"
    with opened(path, mode="map", local_features="sift") as pipeline:
        for frame in observations(wall, range(0, 8)):
            pipeline.process(replace(frame, camera=CAMERA, T_base_camera=aside, depth=image))
    by_motion = []
    with PlaceMap.open(path) as place_map:
        for keyframe_id in place_map.poses().ids:
            kept = place_map.features(int(keyframe_id))
            left, right = kept.pixels[:, 0] < 35, kept.pixels[:, 0] > 45
            np.testing.assert_allclose(kept.depth_m[left], 6.5, rtol=1e-3)
            by_motion.extend(kept.depth_m[right & kept.has_depth])
    assert len(by_motion) > 20 and abs(np.median(by_motion) - 7.0) < 0.5
