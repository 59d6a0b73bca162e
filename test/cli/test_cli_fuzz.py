"""Files that hypothesis has damaged: every command answers, or says one sentence; never a traceback, never a hang."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from command_line import run
from damage import alert, damaged, damages, examples
from hypothesis import given
from ros1_bags import write_ros1
from street import START_NS, drive_images, write_drive


@dataclass(frozen=True)
class Specimen:
    """A folder with whole files, the one of them that is damaged, and a command that reads it."""

    folder: Path
    file: str
    command: tuple[str, ...]  # {} stands for the folder of the damaged copy


def answers(specimen, damage, copy):
    """Damage a copy, run the command on it, and hold what it says against the rule."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(specimen.folder, copy)
    victim = copy / specimen.file
    victim.write_bytes(damaged(victim.read_bytes(), damage))
    arguments = [part.format(copy) for part in specimen.command]

    with alert():
        result = run(*arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.output
    if result.exit_code == 2:
        *noted, said = result.stderr.strip().split("\n")  # a reader notes what it leaves out
        assert said.startswith("error: ") and len(said) < 2000, said
        assert not any(note.startswith(("error: ", " ", "Traceback")) for note in noted), noted
    return result


def mcap(folder):
    write_drive(folder / "drive", drive_images(1, 6), fix=True)
    return f"drive/{next((folder / 'drive').glob('*.mcap')).name}", "doctor", "{}/drive"


def mcap_alone(folder):
    write_drive(folder / "drive", drive_images(1, 6), fix=True)
    next((folder / "drive").glob("*.mcap")).rename(folder / "drive.mcap")
    shutil.rmtree(folder / "drive")
    return "drive.mcap", "doctor", "{}/drive.mcap"


def sqlite_bag(folder):
    write_drive(folder / "drive", drive_images(1, 6), "sqlite3", fix=True)
    return f"drive/{next((folder / 'drive').glob('*.db3')).name}", "doctor", "{}/drive"


def bag_metadata(folder):
    write_drive(folder / "drive", drive_images(1, 6), fix=True)
    return "drive/metadata.yaml", "doctor", "{}/drive"


def ros1_bag(folder):
    write_ros1(folder / "old.bag", np.stack(drive_images(1, 4)))
    return "old.bag", "doctor", "{}/old.bag"


BAGS = [mcap, mcap_alone, sqlite_bag, bag_metadata, ros1_bag]


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """Specimens are made once for all examples."""
    made = {}

    def keep(make, *parts):
        if make not in made:
            folder = tmp_path_factory.mktemp(make.__name__)
            file, *command = make(folder, *parts)
            made[make] = Specimen(folder, file, tuple(command))
        return made[make]

    return keep


@pytest.mark.parametrize("make", BAGS)
@examples(25)
@given(damage=damages)
def test_bags(make, kept, tmp_path, damage):
    answers(kept(make), damage, tmp_path / "copy")


@pytest.mark.parametrize("make", [mcap, sqlite_bag, ros1_bag])
@examples(8)
@given(damage=damages)
def test_bags_are_mapped(make, kept, checkpoint, tmp_path, damage):
    whole = kept(make)
    bag = whole.command[1]
    command = ("map", bag, "-o", "{}/out.vpr", "-c", str(checkpoint))
    answers(Specimen(whole.folder, whole.file, command), damage, tmp_path / "copy")


def map_file(folder, first_map, *_):
    shutil.copy(first_map, folder / "town.vpr")
    return "town.vpr", "info", "{}/town.vpr"


def poses_file(folder, first_map, *_):
    shutil.copy(first_map, folder / "town.vpr")
    lines = [f"{START_NS / 1e9 + i / 2:.6f} {3 * i} 0 0 0 0 0 1" for i in range(30)]
    (folder / "other.tum").write_text("# stamp x y z qx qy qz qw\n" + "\n".join(lines) + "\n")
    return "other.tum", "poses", "{}/town.vpr", "{}/other.tum"


def matches_file(folder, _map, run_folder):
    shutil.copytree(run_folder, folder / "run")
    return "run/matches.jsonl", "eval", "run", "{}/run", "--truth", "frames:2"


def run_file(folder, _map, run_folder):
    shutil.copytree(run_folder, folder / "run")
    return "run/run.json", "eval", "run", "{}/run", "--truth", "frames:2"


def truth_of_stamps(folder, _map, run_folder):
    shutil.copytree(run_folder, folder / "run")
    stamps = [START_NS + i * 10**9 // 2 for i in range(30)]
    (folder / "truth.csv").write_text("\n".join(f"{s + 10**13},{s}" for s in stamps) + "\n")
    return "truth.csv", "eval", "run", "{}/run", "--truth", "{}/truth.csv"


def truth_of_frames(folder, _map, run_folder):
    shutil.copytree(run_folder, folder / "run")
    (folder / "truth.csv").write_text("query_frame,reference_frame\n" + "\n".join(f"{i},{i}" for i in range(30)) + "\n")
    return "truth.csv", "eval", "run", "{}/run", "--truth", "{}/truth.csv"


def truth_as_array(folder, _map, run_folder):
    shutil.copytree(run_folder, folder / "run")
    np.save(folder / "truth.npy", np.stack([np.arange(30)] * 2, 1))
    return "truth.npy", "eval", "run", "{}/run", "--truth", "{}/truth.npy"


def similarities_file(folder, _map, run_folder):
    shutil.copytree(run_folder, folder / "run")
    file = next((folder / "run").glob("*.npz"), None) or next((folder / "run").glob("simil*"))
    return f"run/{file.name}", "eval", "run", "{}/run", "--truth", "frames:2"


@pytest.mark.parametrize(
    "make",
    [map_file, poses_file, matches_file, run_file, truth_of_stamps, truth_of_frames, truth_as_array, similarities_file],
)
@examples(25)
@given(damage=damages)
def test_maps_and_runs(make, kept, first_map, run_folder, tmp_path, damage):
    answers(kept(make, first_map, run_folder), damage, tmp_path / "copy")


@examples(8)
@given(damage=damages)
def test_maps_localise(kept, first_map, checkpoint, bags, tmp_path, damage):
    whole = kept(map_file, first_map)
    drive = (
        "localize",
        str(bags["second"]),
        "--map",
        "{}/town.vpr",
        "-o",
        "{}/run",
        "-c",
        str(checkpoint),
        "--no-report",
    )
    answers(Specimen(whole.folder, whole.file, drive), damage, tmp_path / "copy")


def safetensors_file(folder, checkpoint):
    shutil.copy(checkpoint, folder / "net.safetensors")
    return "net.safetensors", "info", "{}/net.safetensors"


def pytorch_file(folder, _checkpoint):
    torch.save(
        {"state_dict": {f"module.layer.{i}": torch.arange(6.0).view(2, 3) for i in range(4)}}, folder / "net.pth"
    )
    return "net.pth", "info", "{}/net.pth"


def legacy_pytorch_file(folder, _checkpoint):
    torch.save({"weight": torch.ones(2, 3)}, folder / "net.pth", _use_new_zipfile_serialization=False)
    return "net.pth", "info", "{}/net.pth"


@pytest.mark.parametrize("make", [safetensors_file, pytorch_file, legacy_pytorch_file])
@examples(25)
@given(damage=damages)
def test_checkpoints(make, kept, checkpoint, tmp_path, damage):
    answers(kept(make, checkpoint), damage, tmp_path / "copy")


def settings_file(folder, first_map, bag, checkpoint):
    shutil.copy(first_map, folder / "town.vpr")
    (folder / "vpr.yaml").write_text(run("parameters", "--yaml").stdout)
    given = ("--config", "{}/vpr.yaml", "-c", str(checkpoint), "--no-report")
    return "vpr.yaml", "localize", str(bag), "--map", "{}/town.vpr", "-o", "{}/run", *given


@examples(12)
@given(damage=damages)
def test_settings(kept, first_map, checkpoint, bags, tmp_path, damage):
    answers(kept(settings_file, first_map, bags["second"], checkpoint), damage, tmp_path / "copy")


def picture(ending):
    def make(folder):
        image = drive_images(1, 1)[0]
        (folder / "walk").mkdir()
        for name in ("a", "b"):
            cv2.imwrite(str(folder / f"walk/{name}{ending}"), image)
        return f"walk/b{ending}", "bag", "{}/walk", "-o", "{}/walk_bag"

    make.__name__ = ending[1:]
    return make


@pytest.mark.parametrize("make", [picture(ending) for ending in (".jpg", ".png")], ids=lambda make: make.__name__)
@examples(25)
@given(damage=damages)
def test_pictures(make, kept, tmp_path, damage):
    answers(kept(make), damage, tmp_path / "copy")
