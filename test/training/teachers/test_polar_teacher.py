"""The teacher without weights: its embeddings, its similarities, and where it stands in for a network."""

import copy
import pickle

import numpy as np
import pytest
import torch
from distil_runs import rows_of, samples_of, settings

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.lidar import compare, polar_grids
from vpr_ros.training.data.sample import NORMALISED, Sample
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.student.train import train
from vpr_ros.training.teacher.config import TeacherConfig, TeacherModelConfig, check
from vpr_ros.training.teachers import check_unit, collate, load_teacher


def street(seed, turn=0.0):
    """Points (N, 3) of posts around a robot whose heading is turned by `turn` rad."""
    rng = np.random.default_rng(seed)
    feet, heights = rng.uniform(-40, 40, (30, 2)), rng.uniform(1, 9, 30)
    posts = [
        np.column_stack([np.repeat(foot[None], 30, 0), np.linspace(0, h, 30)])
        for foot, h in zip(feet, heights, strict=True)
    ]
    points = np.concatenate(posts) + rng.normal(0, 0.05, (900, 3))
    return (points @ planar_transform(0, 0, turn)[:3, :3]).astype(np.float32)


def embeddings(teacher, *clouds):
    samples = [Sample(None, cloud, None, n) for n, cloud in enumerate(clouds)]
    return teacher.embed(collate(samples, teacher.inputs)).numpy()


def test_embeddings_keep_the_heading_and_similarities_do_not():
    teacher = load_teacher("polar-grid", blur_cells=0.0)
    clouds = [street(1), street(1, np.pi / 2), street(2), np.full((1, 3), 0.1, np.float32)]
    found = embeddings(teacher, *clouds)
    assert found.shape == (4, teacher.dim) and teacher.inputs.modalities == ("cloud",)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], atol=1e-5)
    product = found @ found.T
    assert product[0, 1] < 0.7 * product[0, 0], "a camera that looks the other way sees another picture"
    alike = teacher.similarities(found, found)
    np.testing.assert_allclose(alike, compare(polar_grids(clouds), polar_grids(clouds))[0], atol=1e-6)
    assert alike[0, 1] > 0.9 > 2 * alike[0, 2] and alike[0, 3] == 0


def test_options_make_another_grid():
    small = load_teacher("polar-grid", rings=5, sectors=8, range_m=12.0)
    assert small.dim == embeddings(small, street(0)).shape[1] == 40
    assert small.made_as[0] == "polar-grid" and small.made_as[1]["range_m"] == 12.0
    for other in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        assert np.array_equal(embeddings(other, street(0)), embeddings(small, street(0)))
    for options, words in (
        ({"rings": 1}, "at least two of each"),
        ({"planes": 3}, "has no option planes"),
        ({"blur_cells": -1.0}, "0 cells or more"),
    ):
        with pytest.raises(VprError, match=words):
            load_teacher("polar-grid", **options)


def test_it_needs_neither_weights_nor_a_training(places_with_clouds, tmp_path):
    teacher, samples = load_teacher("polar-grid"), samples_of(places_with_clouds)
    taught = {}
    for view in ("cached", "online"):
        config = settings(
            places_with_clouds, "", distil={"teacher": "polar-grid", "teacher_view": view, "head": "none"}
        )
        train(config, tmp_path / view, weights_only=True)
        taught[view] = rows_of(tmp_path / view)
    assert np.allclose(np.load(tmp_path / "cached" / "teacher.npy"), embed(teacher, samples), atol=1e-6)
    assert all(float(rows[-1]["rkd_distance"]) > 0 for rows in taught.values())
    with pytest.raises(VprError, match="has no weights: leave the checkpoint"):
        load_teacher("polar-grid", tmp_path / "any.safetensors")
    with pytest.raises(VprError, match="nothing to train"):
        check(TeacherConfig(model=TeacherModelConfig("polar-grid")))
    normalised = samples_of(places_with_clouds)
    normalised.cloud_unit = NORMALISED
    with pytest.raises(VprError, match="knows clouds in metres"):
        check_unit(teacher, normalised)


def test_other_options_are_another_teacher_for_a_resumed_run(places_with_clouds, tmp_path):
    section = {"teacher": "polar-grid", "head": "none"}
    config = settings(places_with_clouds, "", distil=section)
    train(config, tmp_path, teacher=load_teacher("polar-grid"), weights_only=True)
    with pytest.raises(VprError, match="begun with another teacher"):
        train(config, tmp_path, teacher=load_teacher("polar-grid", range_m=20.0), weights_only=True)


def test_networks_are_as_alike_as_they_are_near():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 6)), rng.normal(size=(3, 6))
    expected = [[-sum((x - y) ** 2 for x, y in zip(p, q, strict=True)) for q in b] for p in a]
    network = load_teacher("minkloc++-cloud", dim=6, cloud_planes=(4, 4, 4), sparse="torch")
    np.testing.assert_allclose(network.similarities(a, b), expected, atol=1e-9)
    assert network.device == torch.device("cpu")
