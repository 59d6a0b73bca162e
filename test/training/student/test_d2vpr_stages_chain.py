"""Both stages of D2-VPR, from the published settings: CricaVPR online on a tiny GSV-Cities, then fine-tuning."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from run_settings import changed

from vpr_ros.student import DescriptorExtractor, read_checkpoint
from vpr_ros.training.data.augment.variation import RandAugmentConfig
from vpr_ros.training.student.config import read_config
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.train import train
from vpr_ros.training.teacher.config import read_teacher_config
from vpr_ros.training.teachers import load_teacher, save_teacher

CONFIGS = Path(__file__).resolve().parents[3] / "config" / "training"
SIDE = 42  # 3x3 tokens
STUDENT = {
    "image_size": [SIDE, SIDE],
    "width": 16,
    "depth": 3,
    "heads": 2,
    "taps": [1, 3],
    "position_grid": [3, 3],
    "adapter_width": 16,
    "adapter_init": "scratch",
    "layer_scale_init": 0.0,
    "dim": 32,
    "offset_hidden": 8,
    "fusion_hidden": 8,
    "position_hidden": 8,
    "encoder_heads": 2,
    "encoder_hidden": 16,
}
TEACHER = {
    "image_size": (SIDE, SIDE),
    "cuts": "scaled",
    "width": 32,
    "depth": 2,
    "position_grid": (3, 3),
    "encoder_heads": 2,
    "encoder_hidden": 32,
    "adapter_init": "scratch",
}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_one(path):
    teacher = "  teacher:" in path.read_text().split("data:")[0]
    assert (read_teacher_config if teacher else read_config)(path).data.train


def test_published_numbers():
    one, two = (read_config(CONFIGS / f"d2vpr_stage{n}_released.yaml") for n in (1, 2))
    first, second = one.optimisation, two.optimisation
    assert (first.learning_rate, first.optimiser, first.epochs, first.schedule) == (2.5e-5, "adam", 20, "constant")
    assert (one.data.places_per_batch, one.data.images_per_place, one.data.redraw) == (8, 4, False)
    assert one.distillation is not None
    assert (one.distillation.teacher, one.distillation.teacher_view) == ("cricavpr", "online")
    assert (second.learning_rate, second.weight_decay, second.optimiser, second.epochs) == (2e-4, 1e-3, "adamw", 120)
    assert (two.data.places_per_batch, second.schedule, two.model.batch_norm) == (128, "d2vpr-released", "moving")
    assert one.augmentation.variation == RandAugmentConfig(3, 9)
    assert two.augmentation.variation == RandAugmentConfig(3, 15)
    assert (two.task.loss, two.model.trained, second.seed, two.distillation) == (
        "multi_similarity",
        "d2vpr-stage2",
        3407,
        None,
    )


@pytest.fixture(scope="module")
def cities(tmp_path_factory):
    """Two cities of four places with four pictures each: a drawing per place, with noise."""
    root = tmp_path_factory.mktemp("gsv")
    (root / "Dataframes").mkdir()
    rng = np.random.default_rng(0)
    for city in ("Here", "There"):
        (root / "Images" / city).mkdir(parents=True)
        lines = ["place_id,year,month,northdeg,city_id,lat,lon,panoid"]
        for place in range(4):
            drawing = cv2.resize(rng.integers(0, 255, (4, 5, 3), dtype=np.uint8), (64, 48))
            for k in range(4):
                pano = f"p{place}{k}"
                lines.append(f"{place},{2010 + k},1,90,{city},50.{place},8.0,{pano}")
                picture = np.clip(drawing + rng.normal(0, 12, drawing.shape), 0, 255).astype(np.uint8)
                name = f"{city}_{place:07d}_{2010 + k}_01_090_50.{place}_8.0_{pano}.jpg"
                cv2.imwrite(str(root / "Images" / city / name), picture)
        (root / "Dataframes" / f"{city}.csv").write_text("\n".join(lines) + "\n")
    return root


def small(name, cities, **changes):
    """A published configuration at a size that runs in a second or two."""
    published = read_config(CONFIGS / f"{name}.yaml")
    options = published.model.options | STUDENT
    tiny = changed(
        published,
        train=(str(cities),),
        options=options,
        precision="32-true",
        accelerator="cpu",
        threads=1,
        places_per_batch=4,
        epochs=3,
        learning_rate=2e-3,
        start="",
    )
    return changed(tiny, **changes)


@pytest.mark.parametrize("reading", ["paper", "released"])
def test_the_two_stages_in_a_chain(reading, cities, tmp_path, monkeypatch):
    torch.manual_seed(5)
    crica = load_teacher("cricavpr", **TEACHER)
    save_teacher(tmp_path / "crica.safetensors", crica)
    pairs, terms = [], []
    weigh = MetricLearning.training_step

    def watch(self, batch, index):
        with torch.no_grad():
            if "teacher" in batch:
                pairs.append((batch["image"].clone(), batch["teacher"]["images"].clone()))
        loss = weigh(self, batch, index)
        terms.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(MetricLearning, "training_step", watch)
    one = small(f"d2vpr_stage1_{reading}", cities)
    assert one.distillation is not None
    section = replace(one.distillation, checkpoint=str(tmp_path / "crica.safetensors"))
    one = changed(one, epochs=8, distillation=section)
    first = train(one, tmp_path / "one")
    assert len(terms) == 8 * 2 and all(torch.equal(student, teacher) for student, teacher in pairs)
    assert np.mean(terms[-4:]) < 0.8 * np.mean(terms[:4]) and max(terms) <= 4 / (14 * 32)
    assert read_checkpoint(first).metadata["provenance"]["teacher"]["teacher"] == "cricavpr"

    two = small(f"d2vpr_stage2_{reading}", cities, start=str(first))
    second = train(two, tmp_path / "two")
    before, after = (read_checkpoint(path).model for path in (first, second))
    moved = {n for n, v in after.state_dict().items() if not torch.equal(v, before.state_dict()[n])}
    frozen = {n for n in after.state_dict() if n.startswith("backbone.") and "blocks.2." not in n}
    drifting = {n for n in frozen if "running" in n or "num_batches" in n}
    assert moved & frozen == (drifting if reading == "released" else set())
    assert "recovery.lift.weight" in moved and "backbone.blocks.2.adapter.down.weight" in moved
    assert (after.encoder is not None) == (reading == "paper")

    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    extractor = DescriptorExtractor.from_checkpoint(second, "cpu", allow_batch_dependence=reading == "paper")
    described = extractor.describe([image])
    assert described.shape == (1, extractor.dim) and np.linalg.norm(described) == pytest.approx(1.0, abs=1e-5)
