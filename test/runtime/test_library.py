"""From a picture to an answer in Python, as the README says it; and `import vpr_ros` stays light."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from street import drive_images

import vpr_ros
from vpr_ros import pictures
from vpr_ros.errors import FrameError, VprError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A folder with pictures, the map that `vpr_ros map` made of them, and one of the pictures as photo.jpg."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "walk").mkdir()
    for number, image in enumerate(drive_images(1, 8)):
        (folder / "walk" / f"{number}.jpg").write_bytes(pictures.encode(image, quality=95))
    result = run("map", folder / "walk", "-o", folder / "town.vpr", "--keyframe-every", "1")
    assert result.exit_code == 0, result.output
    (folder / "photo.jpg").write_bytes((folder / "walk" / "4.jpg").read_bytes())
    return folder


def test_the_example_of_the_readme_runs(walk, monkeypatch, capsys):
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## As a library")[2].partition("\n## ")[0]
    example = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    assert "vpr_ros.Localizer(" in example and "vpr_ros.read_image(" in example
    monkeypatch.chdir(walk)
    exec(example, {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[0] in ("accepted", "rejected", "unknown")
    assert printed[1].startswith("5 ")  # the fifth picture became the fifth keyframe


def test_a_drive_is_answered_as_the_command_answers_it(walk):
    images = [vpr_ros.read_image(walk / "walk" / f"{number}.jpg") for number in range(8)]
    out = walk / "run"
    options = ("--no-report", "--set", "accept_probability=0.5")
    assert run("localize", walk / "walk", "--map", walk / "town.vpr", "-o", out, *options).exit_code == 0
    lines = (out / "matches.csv").read_text(encoding="utf-8").splitlines()
    with vpr_ros.Localizer(walk / "town.vpr", accept_probability=0.5) as localizer:
        answers = [localizer.localize(image) for image in images]
        again = localizer.picture(3)
        localizer.forget()
        first = localizer.localize(images[0])
    assert [answer.status for answer in answers] == [line.split(",")[1] for line in lines[1:]]
    assert first.note == "asked to forget" and again is not None and again.dtype == np.uint8


def test_what_cannot_be_right_is_one_sentence(walk, tmp_path):
    with pytest.raises(VprError, match="'bogus'.*vpr_ros parameters"):
        vpr_ros.Localizer(walk / "town.vpr", bogus=1)
    with pytest.raises(VprError, match="accept_probability cannot be 3"):
        vpr_ros.Localizer(walk / "town.vpr", accept_probability=3)
    with pytest.raises(VprError, match="nowhere.vpr"):
        vpr_ros.Localizer(tmp_path / "nowhere.vpr")
    with pytest.raises(VprError, match="does not exist"):
        vpr_ros.read_image(tmp_path / "none.jpg")
    with vpr_ros.Localizer(walk / "town.vpr") as localizer:
        with pytest.raises(FrameError):
            localizer.localize(np.zeros((4, 4), np.uint8))
        assert localizer.localize(vpr_ros.read_image(walk / "photo.jpg"), stamp_ns=5).stamp_ns == 5


def test_importing_the_package_loads_no_library_and_tells_type_checkers_that_it_is_typed():
    code = "import vpr_ros, sys; assert not {'numpy', 'torch', 'cv2', 'typer'} & set(sys.modules); vpr_ros.read_image"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert (ROOT / "vpr_ros" / "py.typed").is_file() and '"py.typed"' in (ROOT / "setup.py").read_text(encoding="utf-8")
    with pytest.raises(AttributeError, match="no attribute 'localise'"):
        _ = vpr_ros.localise
