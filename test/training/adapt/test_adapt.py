"""The command on two small drives: what it writes, says, keeps and refuses."""

import numpy as np
import pytest
import torch
from adapt_street import SIZE, STEPS, command, silent
from command_line import run
from street import drive_images, write_drive

from vpr_ros import pictures
from vpr_ros.student import D2VPR, NANO, DescriptorExtractor, read_checkpoint, save_checkpoint
from vpr_ros.training.adapt import learning, probabilities
from vpr_ros.training.adapt.kept import kept_maps
from vpr_ros.training.adapt.learning import LearningConfig, LearningOnMaps, learn
from vpr_ros.training.adapt.measure import Crossings
from vpr_ros.training.adapt.probabilities import labelled_stretches
from vpr_ros.training.adapt.reduced import Reduced
from vpr_ros.training.adapt.run import AdaptConfig, adapt
from vpr_ros.training.adapt.stretches import COUNT, cut


class EnoughError(Exception):
    """Ends an adaptation when its figures are there."""


def test_the_checkpoint_is_the_start_with_what_follows_its_trunk_trained(adapted, start, samples):
    result, path, _ = adapted
    own, before = read_checkpoint(path), read_checkpoint(start)
    trunk, stored = before.model.backbone.state_dict(), own.model.backbone.state_dict()
    assert all(
        torch.equal(stored[key], value.half().float() if value.ndim > 1 else value) for key, value in trunk.items()
    )
    assert own.metadata["fingerprint"] != before.metadata["fingerprint"]
    facts = own.metadata["provenance"]["adapted"]
    assert facts["drives"] == ["day", "night"] and facts["start"] == before.metadata["fingerprint"]
    recalls = facts["recalls"]["all"]
    assert recalls["learned"] > recalls["start"] and f"{recalls['kept out']:.3f}" in result.output
    # the figures are those of the file, measured on pixels
    crossings = Crossings(samples, SIZE)
    extractor = DescriptorExtractor(own.model, own.projection, device="cpu")
    described = extractor.describe_raw([samples[row].image for row in range(len(samples))])
    right = crossings.answers(described, extractor.parts).right
    assert right.mean() == pytest.approx(recalls["learned"], abs=2.5 / len(right))
    assert pictures.pixels_of(path.with_suffix(".png").read_bytes()).shape[1] == 1200
    assert own.calibration_json is not None and own.calibration_json["source"] == "checkpoint"
    assert "probabilities of its own" in result.output


def test_work_that_is_kept_is_not_done_again(adapted, drives, start, samples, tmp_path):
    result, _, work = adapted
    before = {one: one.stat().st_mtime_ns for one in work.rglob("*") if one.suffix in (".ckpt", ".safetensors", ".jpg")}
    assert len(before) > COUNT + 2 + len(samples)
    config = AdaptConfig(LearningConfig(STEPS), SIZE)

    def tell(measured):
        assert measured.sentence in result.output
        raise EnoughError

    with pytest.raises(EnoughError):
        adapt(samples, read_checkpoint(start), tmp_path / "own.safetensors", config, work, silent, tell, print)
    after = {one: one.stat().st_mtime_ns for one in work.rglob("*") if one.suffix in (".safetensors", ".jpg")}
    assert after == {one: time for one, time in before.items() if one in after}
    result = run(*command(drives, start, tmp_path / "other.safetensors", work, "--max-gap-s", 2))
    assert result.exit_code == 2 and "read with other options" in result.output


@pytest.fixture
def small(samples, start, adapted):
    """A model, maps, and a function that trains it for some steps."""
    checkpoint = read_checkpoint(start)
    maps = kept_maps(samples, checkpoint, adapted[2] / "maps", silent)

    def trained(folder, seed, rows=None):
        model = Reduced(checkpoint.model, checkpoint.projection)
        rows = np.arange(len(samples)) if rows is None else rows
        learn(model, maps[rows], samples.select(rows), SIZE, LearningConfig(3, seed=seed), folder, lambda _: None)
        return model.state_dict()

    return trained


def test_a_seed_decides_what_is_learned(small, tmp_path):
    first, again, other = (small(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_frames_on_and_beside_a_stretch_kept_out_are_never_looked_at(samples, start, adapted, tmp_path, monkeypatch):
    seen: dict[int, list[np.ndarray]] = {}
    step = LearningOnMaps.training_step

    def watched(self, rows, index):
        seen.setdefault(id(self), []).extend(self._maps[rows.numpy()])
        modules.append(self)
        return step(self, rows, index)

    def tell(_measured):
        raise EnoughError

    modules: list[LearningOnMaps] = []  # keeps them, so that no two have one id
    monkeypatch.setattr(LearningOnMaps, "training_step", watched)
    config, checkpoint = AdaptConfig(LearningConfig(3, seed=3), SIZE), read_checkpoint(start)
    with pytest.raises(EnoughError):
        adapt(samples, checkpoint, tmp_path / "own.safetensors", config, tmp_path, silent, tell, print)
    assert samples.positions_m is not None
    maps, stretches = kept_maps(samples, checkpoint, adapted[2] / "maps", silent), cut(samples, SIZE)
    assert len(seen) == COUNT + 1 and len(np.unique(maps, axis=0)) == len(maps)
    for number, used in enumerate(list(seen.values())[:COUNT]):
        rows = [int(np.flatnonzero((maps == one).all(axis=1))[0]) for one in used]
        gaps = samples.positions_m[rows][:, None] - samples.positions_m[stretches.kept_out(number)][None]
        assert np.linalg.norm(gaps, axis=2).min() > SIZE.border_m


def test_a_worse_result_is_not_written_unless_asked_for(drives, start, adapted, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "PROJECTION_RATE", 1e3)
    monkeypatch.setattr(learning, "HEADS_RATE", 1e3)
    out, work = tmp_path / "own.safetensors", adapted[2]
    result = run(*command(drives, start, out, work, "--seed", 7, "--steps", 2))
    assert result.exit_code == 2 and "nothing was written; --keep-worse writes it" in result.output
    assert "on stretches kept out the adapted student recognises 0." in result.output and not out.exists()
    monkeypatch.setattr(probabilities, "MOST_FRAMES", 1)
    result = run(*command(drives, start, out, work, "--seed", 7, "--steps", 2, "--keep-worse"))
    assert result.exit_code == 0 and read_checkpoint(out).projection is not None
    assert "those of the start are kept" in result.output and "probabilities of the start" in result.output


def test_every_stretch_asks_on_the_map_and_off_it_with_the_student_that_has_not_seen_it(samples):
    crossings, stretches = Crossings(samples, SIZE), cut(samples, SIZE)
    descriptors = [np.full((len(samples), 4), float(number), np.float32) for number in range(COUNT)]
    found = labelled_stretches(crossings, stretches, descriptors, (4,))
    posed = [one for one in found if one.T_odom_base is not None]
    asked = np.zeros(2, int)
    for one in posed:
        number = int(one.descriptors[0, 0])
        x = np.round(one.T_odom_base[:, 0, 3], 3)
        rows = [int(np.flatnonzero(np.isclose(samples.positions_m[:, 0], v, atol=1e-3))[0]) for v in x]
        assert (stretches.numbers[rows] == number)[one.known].all()
        gaps = np.linalg.norm(one.T_odom_base[:, None, :2, 3] - one.keyframes.T_map_base[None, :, :2, 3], axis=2)
        on = [len(truth) > 0 for truth in one.truth]
        assert (np.array(on) == (gaps <= SIZE.radius_m).any(axis=1))[one.known].all()
        assert not (one.repeats and np.array(on)[one.known].any())
        if one.repeats:
            assert gaps[one.known].min() > SIZE.border_m
        asked[int(one.repeats)] += one.known.sum()
    assert asked.tolist() == [len(crossings), len(crossings)]
    assert len(posed) < len(found)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("one drive", "there is one drive, day"),
        ("one drive twice", "there is one drive, day"),
        ("elsewhere", "go through the same streets"),
        ("transformer", "nano' cannot be kept"),
        ("no poses", "record poses in one map frame"),
        ("poses alone", "name the topic with --pose-topic"),
        ("no clouds", "--pairs lidar needs them"),
        ("no camera", "image"),
        ("ending", "let it end with .safetensors"),
        ("too short", "record a longer way"),
    ],
)
def test_what_cannot_be_adapted_is_one_sentence(case, said, drives, start, tmp_path, street_bags):
    given, more, out = list(drives), [], tmp_path / "own.safetensors"
    if case == "one drive":
        given = drives[:1]
    elif case == "one drive twice":
        given = [drives[0], drives[0]]
    elif case == "elsewhere":
        given = [drives[0], street_bags["elsewhere"]]
    elif case == "transformer":
        start = tmp_path / "vit.safetensors"
        save_checkpoint(start, D2VPR(NANO.replace(width=32, heads=2, depth=2, taps=(1, 2), adapter_width=16)).eval())
    elif case == "no camera":
        given = [drives[0], street_bags["blind"]]
    elif case in ("no poses", "poses alone", "no clouds"):
        more = ["--pose-topic", "none", "--pairs", {"no poses": "auto", "poses alone": "poses"}.get(case, "lidar")]
    elif case == "ending":
        out = tmp_path / "own.txt"
    elif case == "too short":
        more = ["--place-radius", 14]
    result = run(*command(given, start, out, tmp_path / "work", *more))
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output and not out.exists()


@pytest.fixture(scope="session")
def street_bags(tmp_path_factory):
    from vpr_ros.sensors import BagWriter, odometry_msg

    folder = tmp_path_factory.mktemp("adapt_bad")
    with BagWriter(folder / "blind", "mcap") as bag:
        bag.write("/odom", odometry_msg(np.eye(4), 10**18), 10**18)
    far = write_drive(folder / "elsewhere", drive_images(2, 12), y_m=500.0)
    return {"blind": folder / "blind", "elsewhere": far}
