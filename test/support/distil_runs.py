"""Distillation runs of a few steps, with a teacher of a few planes, for the tests of the engine."""

import csv
import dataclasses

import torch
from run_settings import changed

from vpr_ros.student import read_checkpoint
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.student.config import DistillationConfig, TrainConfig
from vpr_ros.training.teachers import load_teacher, save_teacher

TEACHER = {
    "cloud_dim": 8,
    "image_dim": 8,
    "voxel_size": 1.0,
    "cloud_planes": [4, 4, 4],
    "image_size": [16, 24],
    "image_planes": [4, 4, 8],
}


def saved_teacher(folder):
    """The checkpoint of a small teacher from random weights."""
    torch.manual_seed(0)
    path = folder / "teacher.safetensors"
    save_teacher(path, load_teacher("minkloc++", sparse="torch", **TEACHER))
    return path


def settings(folder, checkpoint, *, distil=None, **changes):
    section = DistillationConfig(checkpoint=str(checkpoint), loss="rkd", sparse="torch")
    tiny = changed(
        TrainConfig(),
        train=(str(folder),),
        distillation=dataclasses.replace(section, **(distil or {})),
        epochs=2,
        steps_per_epoch=2,
        places_per_batch=4,
        images_per_place=2,
        image_sizes=(28,),
        accelerator="cpu",
        threads=1,
    )
    return changed(tiny, **changes)


def samples_of(folder):
    return TrainingSetSamples(folder, name="tiny")


def weights(path):
    return read_checkpoint(path).model.state_dict()


def rows_of(out):
    with (out / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))
