"""Files of data sets, trainings and teachers that hypothesis has damaged: read, or refused with one sentence."""

import json
import pickle
import shutil
from functools import cache
from pathlib import Path

import boreas_layout
import numpy as np
import pytest
import robotcar_layout
from damage import alert, damaged, damages, examples
from hypothesis import given

from vpr_ros.errors import FrameError, VprError
from vpr_ros.training.data.datasets.boreas import calibration as boreas_calibration
from vpr_ros.training.data.datasets.boreas import readings as boreas
from vpr_ros.training.data.datasets.gsv_cities import read_table
from vpr_ros.training.data.datasets.pointnetvlad.samples import read_run, read_submap
from vpr_ros.training.data.datasets.pointnetvlad.splits import TrainingSplit
from vpr_ros.training.data.datasets.robotcar import readings as robotcar
from vpr_ros.training.data.datasets.robotcar.models import load_model
from vpr_ros.training.student.config.run import read_config
from vpr_ros.training.teacher.config import read_teacher_config
from vpr_ros.training.teachers.checkpoints import read_teacher
from vpr_ros.training_set import format as layout
from vpr_ros.training_set.clouds import read_npy_cloud
from vpr_ros.training_set.reader import read_frame_table

CONFIGS = Path(__file__).parents[2] / "config" / "training"


def training_set(folder, damaged_file):
    rows = [layout.table_row(i, "d", 1, np.eye(4), "summer", 10**9 * i, f"{i}.jpg") for i in range(5)]
    text = "\n".join(",".join(map(str, row)) for row in [layout.COLUMNS, *rows]) + "\n"
    (folder / layout.TABLE).write_text(text)
    (folder / layout.META).write_text(
        json.dumps({"format": layout.FORMAT, "version": layout.VERSION, "kind": "recorded"})
    )
    return damaged_file, lambda copy: read_frame_table(copy)


def student_config(folder):
    shutil.copy(CONFIGS / "distill.yaml", folder)
    return "distill.yaml", lambda copy: read_config(copy / "distill.yaml")


def teacher_config(folder):
    shutil.copy(CONFIGS / "minkloc_cities.yaml", folder)
    return "minkloc_cities.yaml", lambda copy: read_teacher_config(copy / "minkloc_cities.yaml")


def gsv_table(folder):
    lines = ["place_id,year,month,northdeg,city_id,lat,lon,panoid"]
    lines += [f"{i},2015,{i + 1},{i * 30},London,51.5{i},-0.1,pano{i}" for i in range(6)]
    (folder / "London.csv").write_text("\n".join(lines) + "\n")
    return "London.csv", lambda copy: read_table(copy / "London.csv")


def submap_table(folder):
    clouds = folder / "oxford" / "run" / "pointcloud_20m_10overlap"
    clouds.mkdir(parents=True)
    lines = ["timestamp,northing,easting", *(f"{1400505893170765 + i},{5735700.5 + i},620100.25" for i in range(4))]
    (clouds.parent / "pointcloud_locations_20m_10overlap.csv").write_text("\n".join(lines) + "\n")
    for i in range(4):
        (clouds / f"{1400505893170765 + i}.bin").write_bytes(bytes(24))
    return (
        "oxford/run/pointcloud_locations_20m_10overlap.csv",
        lambda copy: read_run(copy, "run", "train"),
    )


def submap(folder):
    (folder / "a.bin").write_bytes(np.zeros((4096, 3)).tobytes())
    return "a.bin", lambda copy: read_submap(copy / "a.bin")


def split(folder):
    element = {"query": "oxford/a/b/1.bin", "positives": np.array([1]), "negatives": [2, 3]}
    (folder / "split.pickle").write_bytes(pickle.dumps({i: element for i in range(4)}))
    return "split.pickle", lambda copy: TrainingSplit.read(copy / "split.pickle")


def robotcar_stamps(folder):
    (folder / "stereo.timestamps").write_text("".join(f"{1400505893170765 + i} 1\n" for i in range(5)))
    return "stereo.timestamps", lambda copy: robotcar.read_stamps(copy / "stereo.timestamps")


def robotcar_poses(folder):
    line = "{},INS_SOLUTION_GOOD,51.76,-1.26,110.0,5735700.5,620100.25,-110.0,30U,0.1,0.2,0.0,0.01,0.02,1.5"
    rows = [robotcar_layout.INS_HEADER, *(line.format(1400505893170765 + i) for i in range(5))]
    (folder / "ins.csv").write_text("\n".join(rows) + "\n")
    return "ins.csv", lambda copy: robotcar.read_poses(copy / "ins.csv")


def robotcar_scan(folder):
    (folder / "1.bin").write_bytes(np.zeros((20, 3)).tobytes())
    return "1.bin", lambda copy: robotcar.read_scan(copy / "1.bin", "lms_front")


def robotcar_model(folder):
    robotcar_layout.write_models(folder)
    size = robotcar_layout.HEIGHT, robotcar_layout.WIDTH
    return "stereo_narrow_left.txt", lambda copy: load_model("stereo/centre", copy, size)


def boreas_poses(folder):
    rows = [f"{1606417097528152 + i},623426.0,4848821.0,153.6,1,2,0,0.01,0.02,1.5,0,0,0" for i in range(5)]
    (folder / "lidar_poses.csv").write_text("\n".join([boreas_layout.HEADER, *rows]) + "\n")
    return "lidar_poses.csv", lambda copy: boreas.read_poses(copy / "lidar_poses.csv")


def boreas_calib(folder):
    boreas_layout.write_calibration(folder / "calib")
    return "calib/T_camera_lidar.txt", lambda copy: boreas_calibration.read_calibration(copy / "calib")


def boreas_projection(folder):
    boreas_layout.write_calibration(folder / "calib")
    return "calib/P_camera.txt", lambda copy: boreas_calibration.read_calibration(copy / "calib")


def boreas_scan(folder):
    (folder / "1.bin").write_bytes(np.zeros((20, 6), "f4").tobytes())
    return "1.bin", lambda copy: boreas.read_scan(copy / "1.bin")


def cloud(folder):
    (folder / "1.npy").write_bytes(layout.encode_cloud(np.ones((20, 3))))
    return "1.npy", lambda copy: read_npy_cloud(copy / "1.npy")


def teacher(folder):
    import torch

    torch.save({"module.conv0.kernel": torch.ones(3, 4)}, folder / "t.pth")
    return "t.pth", lambda copy: read_teacher(copy / "t.pth")


READERS = {
    "frames": lambda folder: training_set(folder, layout.TABLE),
    "meta": lambda folder: training_set(folder, layout.META),
    **{
        make.__name__: make
        for make in (
            student_config, teacher_config, gsv_table, submap_table, submap, split, robotcar_stamps, robotcar_poses,
            robotcar_scan, robotcar_model, boreas_poses, boreas_calib, boreas_projection, boreas_scan, cloud, teacher,
        )
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Whole files are written once for all examples."""

    @cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        return folder, *READERS[name](folder)

    return make


@pytest.mark.parametrize("name", READERS)
@examples(25)
@given(damage=damages)
def test_damaged_files_are_read_or_refused(name, made, tmp_path, damage):
    whole, file, read = made(name)
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)
    (copy / file).write_bytes(damaged((whole / file).read_bytes(), damage))
    with alert():
        try:
            read(copy)
        except (VprError, FrameError) as error:
            assert "\n" not in str(error) and len(str(error)) < 2000
