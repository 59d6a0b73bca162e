"""How far a teacher is believed, held to the definition in loops; and what is drawn where nobody labelled anything."""

from types import SimpleNamespace

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.training.data.sample import Sample
from vpr_ros.training.student.batches import StudentBatches
from vpr_ros.training.student.config import DataConfig, DistillationConfig, OptimisationConfig, TrainConfig, check
from vpr_ros.training.student.teaching.confidence import BESIDE, LEAST, confidence_of


class Samples(SimpleNamespace):
    def __len__(self):
        return len(self.areas)

    def read(self, row, modalities):
        assert tuple(modalities) == ("cloud",)
        points = self.points[row]
        return Sample(None, None if points is None else np.zeros((points, 3), np.float32), None, 0)


def world(drives=(0, 0, 1, 2), each=12, seed=0):
    rng = np.random.default_rng(seed)
    areas, names = np.repeat(["a", "b"], len(drives) * each), np.tile(np.repeat(drives, each), 2)
    x = rng.normal(size=(len(areas), 6)).astype(np.float32)
    points = [int(p) for p in rng.integers(0, 200, len(areas))]
    return Samples(areas=areas, drives=names.astype(str), points=points), x


@pytest.mark.parametrize("drives", [(0, 0, 1, 2), (0, 0, 0)])
def test_a_near_match_among_far_ones_is_believed(drives):
    samples, x = world(drives, each=18)
    x[5] = np.nan  # not seen
    x[30] = x[40] + 1e-3
    found = confidence_of(x, samples, DistillationConfig(confidence="match"))
    for i in range(len(x)):
        if i == 5:
            assert found[i] == np.float32(LEAST)
            continue
        of_area = [j for j in range(len(x)) if samples.areas[j] == samples.areas[i] and j != 5]
        if len(set(drives)) > 1:
            others = [j for j in of_area if samples.drives[j] != samples.drives[i]]
        else:
            others = [j for j in of_area if abs(of_area.index(j) - of_area.index(i)) > BESIDE]
        distances = [float(np.linalg.norm(x[i].astype(float) - x[j])) for j in others]
        assert found[i] == pytest.approx(max(1 - min(distances) / np.median(distances), LEAST), abs=1e-5)
    assert found[30] > 0.99 or samples.drives[30] == samples.drives[40]


def test_clouds_of_few_points_weigh_little():
    samples, x = world()
    samples.points[3] = None
    x[4] = np.nan
    found = confidence_of(x, samples, DistillationConfig(full_cloud=100))
    expected = [0 if p is None or i == 4 else min(p / 100, 1) for i, p in enumerate(samples.points)]
    np.testing.assert_allclose(found, np.maximum(expected, LEAST), rtol=1e-6)
    both = confidence_of(x, samples, DistillationConfig(full_cloud=100, confidence="match"))
    match = confidence_of(x, samples, DistillationConfig(confidence="match"))
    np.testing.assert_allclose(both[10:], np.maximum(match * found, LEAST)[10:], rtol=1e-5)
    assert confidence_of(x, samples, DistillationConfig()) is None


def test_a_constant_teacher_is_not_believed():
    samples, x = world()
    assert (confidence_of(np.ones_like(x), samples, DistillationConfig(confidence="match")) == np.float32(LEAST)).all()


def settings(**data):
    data = {"train": ("town",), "places_per_batch": 6, "images_per_place": 2, "batch_size": 12, **data}
    return TrainConfig(
        data=DataConfig(**data),
        distillation=DistillationConfig(teacher="polar-grid", loss="relations", head="none"),
        optimisation=OptimisationConfig(epochs=2, steps_per_epoch=3),
    )


@pytest.mark.parametrize(("batches", "labelled"), [("places", 6), ("pairs", 6), ("unlabelled", 0)])
def test_a_share_of_each_batch_needs_no_label(batches, labelled):
    from vpr_ros.training.data.nearness import Nearness

    samples, x = world(each=20)
    count, posed = len(samples), np.arange(len(samples)) % 5 == 0  # a fifth has a position
    steps = np.tile(np.arange(20), 8)
    frames = np.where(posed, samples.areas, "")
    drives = np.repeat(np.arange(8), 20)
    samples.nearness = Nearness.of_drives(
        np.column_stack([30.0 * steps, np.zeros(count)]), np.zeros(count), samples.areas, frames, drives
    )
    samples.headings_rad = np.where(posed, 0.0, np.nan)
    config = check(settings(batches=batches, unlabelled_share=0.0 if batches == "unlabelled" else 0.5))
    sampler = StudentBatches(samples, config, lambda: x)
    drawn = [[row for row, *_ in keys] for keys in sampler]
    assert len(drawn) == len(sampler) >= 3
    for rows in drawn[:2]:
        assert len(rows) == 12 and posed[rows[:labelled]].all()
    assert not posed[np.concatenate([rows[labelled:] for rows in drawn])].all()
    assert drawn == [[row for row, *_ in keys] for keys in sampler]
    sampler.set_epoch(1)
    assert drawn != [[row for row, *_ in keys] for keys in sampler]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batches": "unlabelled", "unlabelled_share": 0.5}, "unlabelled_share is for batches"),
        ({"unlabelled_share": 1.0}, "for 1 say batches: unlabelled"),
        ({"batches": "pairs", "unlabelled_share": 0.5, "cities_per_batch": 0}, "cities_per_batch must be 1"),
    ],
)
def test_shares_that_cannot_be_are_refused(change, said):
    with pytest.raises(VprError, match=said):
        check(settings(**change))


def test_the_teacher_has_to_see_all_frames_first():
    config = settings(batches="unlabelled")
    for distillation in (None, DistillationConfig(teacher="polar-grid", teacher_view="online", loss="relations")):
        with pytest.raises(VprError, match="unlabelled frames need a distillation section with teacher_view cached"):
            check(TrainConfig(data=config.data, distillation=distillation))
    online = DistillationConfig(teacher="polar-grid", teacher_view="online", loss="relations", confidence="match")
    with pytest.raises(VprError, match="confidence and full_cloud are for teacher_view cached and frozen"):
        check(TrainConfig(data=DataConfig(train=("town",)), distillation=online))
