"""Cities whose houses are covered with photographs: what changes, what stays, and which photographs are used."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.pictures import encode
from vpr_ros.training.synthetic.conditions import CameraConfig, named_conditions
from vpr_ros.training.synthetic.drive import plan_drive
from vpr_ros.training.synthetic.rendering.light import make_light
from vpr_ros.training.synthetic.rendering.sampling import read_atlas
from vpr_ros.training.synthetic.training_set import render_training_set
from vpr_ros.training.synthetic.world.mesh import FACADE, GENERIC
from vpr_ros.training.synthetic.world.photo_tiles import PHOTO_TILES, photo_tiles
from vpr_ros.training.synthetic.world.textures import UNIT, atlas

CAMERA = CameraConfig(width=48, height=36)
COLOUR = np.array([120, 90, 60])  # its mean is 90


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photographs"
    (folder / "more").mkdir(parents=True)
    for name in ("a.jpg", "more/b.jpg"):
        (folder / name).write_bytes(encode(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)))
    return folder


def hits_and_radiance(surfaces):
    pytest.importorskip("open3d")
    from vpr_ros.training.synthetic.rendering.camera import camera_rays
    from vpr_ros.training.synthetic.rendering.shading import shade

    drive = plan_drive(7, named_conditions("day", seed=1), CAMERA, length_m=40.0, spacing_m=10, surfaces=surfaces)
    scene, T = drive.scene(7), drive.T_city_base[1]
    origin, directions = camera_rays(CAMERA, T)
    directions = directions.reshape(-1, 3)
    hits = scene.cast(origin, directions)
    seen = np.isfinite(hits["t_hit"])
    kinds = np.where(seen, scene.part["kind"][np.where(seen, hits["primitive_ids"], 0)], -1)
    return kinds, shade(scene, make_light(drive.conditions), origin, directions, hits, 0.01, T[:3, 0])


def test_what_is_built_is_covered_and_nothing_else_changes(photographs):
    kinds, painted = hits_and_radiance("")
    again, covered = hits_and_radiance(str(photographs))
    assert (kinds == again).all()
    built = (kinds == FACADE) | (kinds == GENERIC)
    assert built.sum() > 50 and (~built).sum() > 50
    assert (painted[~built] == covered[~built]).all()
    assert np.abs(painted[built] - covered[built]).max(axis=1).astype(bool).mean() > 0.8


def test_tiles_are_the_photographs_at_a_brightness_of_one(tmp_path):
    (tmp_path / "plain.png").write_bytes(encode(np.tile(COLOUR.astype(np.uint8), (40, 60, 1)), "png"))
    book = atlas(str(tmp_path), 3)
    assert len(book.photos) == PHOTO_TILES and len(atlas().photos) == 0
    for level in (0, 3):
        at = np.full(PHOTO_TILES, 0.5)
        found = read_atlas(book, book.photos, at, at, np.full(PHOTO_TILES, level))
        assert np.abs(found[:, :3] - COLOUR / 90 * UNIT).max() <= 1 and (found[:, 3] == 255).all()
    before, after = atlas().overlay, book.overlay
    assert all((before[name] == after[name]).all() for name in before)


def test_cities_have_other_tiles_and_processes_the_same(photographs):
    assert (photo_tiles(photographs, 16, 1) == photo_tiles(photographs, 16, 1)).all()
    assert (photo_tiles(photographs, 16, 1) != photo_tiles(photographs, 16, 2)).any()


def test_a_folder_without_pictures_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VprError, match="empty holds no pictures"):
        render_training_set(tmp_path / "set", [1], 1, 5, (24, 32), surfaces=str(tmp_path / "empty"))
    assert not (tmp_path / "set").exists()
    (tmp_path / "empty" / "torn.jpg").write_bytes(b"no picture")
    with pytest.raises(VprError, match=r"torn\.jpg is no picture"):
        photo_tiles(tmp_path / "empty", 16, 1)
