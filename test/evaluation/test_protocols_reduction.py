"""PCA of an evaluation: fitted on training images only, and the papers' comparison, through the command line too."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vpr_ros import pictures
from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.folders import FolderConfig, describe_files, evaluate_folders
from vpr_ros.evaluation.protocols.image_protocol import ImageProtocol, fit_on_folder
from vpr_ros.evaluation.protocols.reduction import TrainingDescriptors, content_keys, fit_reduction, sample_files
from vpr_ros.sensors.picture_files import list_pictures
from vpr_ros.student import D2VPR, NANO, DescriptorExtractor, fit_projection, save_checkpoint


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(3)
    config = NANO.replace(
        name="tiny",
        image_size=(56, 56),
        width=32,
        depth=2,
        heads=2,
        taps=(1, 2),
        adapter_width=16,
        dim=16,
        offset_hidden=16,
        fusion_hidden=16,
        position_hidden=8,
        stem_channels=(8, 8),
        position_grid=(4, 4),
    )
    return DescriptorExtractor(D2VPR(config).eval(), device="cpu", name="tiny")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Training images, and test images of other scenes, named by place in the public scheme."""
    root = tmp_path_factory.mktemp("set")
    for folder, seeds, noise in (("train", range(100, 140), 0), ("database", range(12), 0), ("queries", range(12), 9)):
        (root / folder).mkdir()
        for seed in seeds:
            rng = np.random.default_rng(seed)
            picture = cv2.resize(rng.uniform(0, 255, (5, 6, 3)).astype(np.float32), (64, 56))
            picture += np.random.default_rng(1000 + seed).normal(0, 1, picture.shape) * noise
            path = root / folder / f"@{1000 * seed:.2f}@0.00@@.png"
            cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8))
    return root


def test_the_fit_sees_training_images_only_and_tells_which(student, folders):
    got = fit_on_folder(student, folders / "train", 6, evaluated=(folders / "database", folders / "queries"))
    raw = student.describe_raw([pictures.read(p) for p in list_pictures(folders / "train")], project=False)
    expected = fit_projection(raw, 6)
    np.testing.assert_allclose(got.projection.matrix, expected.matrix, atol=1e-5)
    assert got.fitted_on == str(folders / "train") and len(got.seen) == 40
    assert f"PCA to 6, fitted on 40 images of {folders / 'train'}" == str(got)


def test_fitting_on_the_evaluated_folders_is_refused(student, folders, tmp_path):
    tested = (folders / "database", folders / "queries")
    for training in (folders / "database", folders, folders / "queries" / ".." / "database"):
        with pytest.raises(VprError, match="overlaps the evaluated folder"):
            fit_on_folder(student, training, 6, evaluated=tested)
    with pytest.raises(VprError, match="overlaps the evaluated folder"):
        fit_on_folder(student, folders / "train", 6, evaluated=(folders,))
    # other names, another folder, the same images
    mixed = tmp_path / "mixed"
    shutil.copytree(folders / "train", mixed)
    for n in range(3):
        shutil.copy(folders / "queries" / f"@{1000 * n:.2f}@0.00@@.png", mixed / f"harmless_{n}.png")
    with pytest.raises(VprError, match="shares 3 images with .*queries"):
        fit_on_folder(student, mixed, 6, evaluated=tested)
    (tmp_path / "link").symlink_to(folders / "database")
    with pytest.raises(VprError, match="overlaps the evaluated folder"):
        fit_on_folder(student, tmp_path / "link", 6, evaluated=tested)


def test_evaluation_itself_refuses_a_projection_that_saw_its_images(student, folders):
    """Whatever way the reduction came about: fitted elsewhere, without naming the evaluated folders."""
    config = FolderConfig.of_set("pitts30k")
    leaked = fit_on_folder(student, folders / "database", 3)
    protocol = ImageProtocol("pitts30k", paper=True)
    with pytest.raises(VprError, match="shares 12 images with .*database"):
        evaluate_folders(protocol.descriptors(student, leaked), folders / "database", folders / "queries", config)
    clean = fit_on_folder(student, folders / "train", 6)
    result = evaluate_folders(
        protocol.descriptors(student, clean), folders / "database", folders / "queries", protocol.config(FolderConfig())
    )
    assert result.queries == 12 and protocol.config(FolderConfig()).measure == "euclidean"
    assert protocol.statement(student, clean) == f"Descriptors: {clean}; as it comes, Euclidean distance."
    with pytest.raises(VprError, match="too few"):
        fit_on_folder(student, folders / "train", 11)


def test_a_fit_has_a_name_and_keys():
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    keys = tuple(map(str, range(20)))
    assert fit_reduction(TrainingDescriptors("town", rows, keys), 2).fitted_on == "town"
    with pytest.raises(VprError, match="must have a name"):
        TrainingDescriptors("", rows, keys)
    with pytest.raises(VprError, match="one per image"):
        TrainingDescriptors("town", rows, keys[:3])


def test_drawing_is_even_seeded_and_in_order(tmp_path):
    files = [tmp_path / f"{i:03d}" for i in range(100)]
    some = sample_files(files, 30, seed=4)
    assert len(set(some)) == 30 and some == sorted(some) == sample_files(files, 30, seed=4) != sample_files(
        files, 30, seed=5
    )
    assert sample_files(files, 1000) == files
    with pytest.raises(VprError, match="cannot read"):
        content_keys(files[:1])


def test_paper_protocol_is_plain_scores_and_euclidean_distance(student, folders):
    """Against the definition: mean off, principal directions, no normalisation, nearest by distance."""
    reduction = fit_on_folder(student, folders / "train", 6)
    protocol = ImageProtocol("pitts30k", paper=True)
    extractor, config = protocol.descriptors(student, reduction), protocol.config(FolderConfig())
    result = evaluate_folders(extractor, folders / "database", folders / "queries", config)
    described = {}
    for folder in ("train", "database", "queries"):
        images = [pictures.read(p) for p in list_pictures(folders / folder)]
        described[folder] = student.describe_raw(images, project=False).astype(np.float64)
    mean = described["train"].mean(axis=0)
    directions = np.linalg.svd(described["train"] - mean, full_matrices=False)[2][:6]
    scores = {k: (v - mean) @ directions.T for k, v in described.items()}
    gaps = np.array([[np.linalg.norm(q - d) for d in scores["database"]] for q in scores["queries"]])
    database, queries = (
        describe_files(extractor, list_pictures(folders / f)).descriptors for f in ("database", "queries")
    )
    np.testing.assert_allclose(np.linalg.norm(queries[:, None] - database, axis=2), gaps, rtol=1e-3)
    ranks = 1 + (gaps < np.diag(gaps)[:, None]).sum(axis=1)  # query i shows the place of image i
    assert result.recall == {n: np.mean(ranks <= n) for n in config.ns} and config.measure == "euclidean"
    robot = ImageProtocol("pitts30k")
    unit = robot.descriptors(student, reduction).describe([pictures.read(list_pictures(folders / "queries")[0])])
    assert np.linalg.norm(unit) == pytest.approx(1, abs=1e-5)
    assert robot.descriptors(student, None) is student


def test_protocol_names():
    assert ImageProtocol.named(["paper", "sped"]) == ImageProtocol("sped", True)
    assert ImageProtocol.named([]) == ImageProtocol(None, False)
    with pytest.raises(VprError, match="one set at a time"):
        ImageProtocol.named(["sped", "nordland"])
    with pytest.raises(VprError, match="choose one of"):
        ImageProtocol.named(["pits30k"])


def run(*arguments):
    from vpr_ros.cli import app

    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_command_line(student, folders, tmp_path):
    checkpoint = tmp_path / "tiny.safetensors"
    save_checkpoint(checkpoint, student.model)
    tested = ("eval", "folders", "--database", folders / "database", "--queries", folders / "queries", "-c", checkpoint)
    fitted = (*tested, "--protocol", "pitts30k", "--protocol", "paper", "--pca-from", folders / "train", "--pca-dim", 6)
    result = run(*fitted)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for words in (
        "recall@1",
        "recall@10",
        "tiny untrained",
        "pixels",
        "12 queries, 12 references. Pitts30k test",
        "within 25 m",
        "counts as a miss",
        f"PCA to 6, fitted on 40 images of {folders / 'train'}",
        "as it comes, Euclidean distance",
        "Pitts30k test has 6816 queries and 10000 database images",
    ):
        assert words in said, words
    leaked = run(*tested, "--protocol", "pitts30k", "--pca-from", folders / "database")
    assert leaked.exit_code == 2 and "overlaps the evaluated folder" in " ".join(leaked.stderr.split())
    for words, arguments in {
        "two rules": (*tested, "--truth", "names", "--protocol", "sped"),
        "is not a protocol": (*tested, "--protocol", "spedd"),
        "eval folders": ("eval", tmp_path, "--database", folders / "database", "--protocol", "sped"),
        "too few": (*tested, "--pca-from", folders / "train", "--pca-dim", 64),
    }.items():
        wrong = run(*arguments)
        assert wrong.exit_code == 2 and words in " ".join(wrong.stderr.split()), json.dumps(wrong.stderr)
    plain = run(*tested, "--protocol", "paper", "--no-baselines", "--truth", "utm:25")
    assert plain.exit_code == 0 and "no projection; as it comes, Euclidean" in " ".join(plain.output.split())
