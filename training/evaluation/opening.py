"""Folders of drives as one sample set, opened by their content."""

from collections.abc import Sequence
from pathlib import Path

from vpr_ros.errors import VprError
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sample import SampleSet


def open_drives(folders: Sequence[str | Path]) -> SampleSet:
    """Training-set folders (rendered, recorded, converted), Boreas sequences (raw or prepared), or RobotCar traversals.

    All folders must be of one kind; a sensor that one of them lacks is left out of all. VprError says what was
    expected.
    """
    paths = [Path(folder) for folder in folders]
    if not paths:
        raise VprError("no folder of drives was named.")
    kinds = {path: _kind(path) for path in paths}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{path} is {kind}" for path, kind in kinds.items())
        raise VprError(f"drives of one kind can be compared at a time: {found}.")
    kind = kinds[paths[0]]
    if kind == "a training set":
        return TrainingSetSamples(*paths)
    if kind == "a RobotCar traversal":
        from vpr_ros.training.data.datasets.robotcar.samples import RobotCar

        return RobotCar(paths, lidar="lms_front" if all((path / "lms_front").is_dir() for path in paths) else None)
    from vpr_ros.training.data.datasets.boreas.samples import BoreasPrepared, BoreasSamples

    if kind == "a prepared Boreas sequence":
        return BoreasPrepared(paths)
    sensors = [name for name in ("camera", "lidar") if all((path / name).is_dir() for path in paths)]
    return BoreasSamples(paths, sensors=sensors or ("camera", "lidar"))


def _kind(path: Path) -> str:
    if (path / "frames.csv").is_file():
        return "a training set"
    if (path / "camera_lidar_interval10").is_dir() or (path / "lidar_1_4096_interval10").is_dir():
        return "a prepared Boreas sequence"
    if path.name.startswith("boreas-") and path.is_dir():
        return "a Boreas sequence"
    if any((path / name).is_dir() for name in ("stereo", "gps", "mono_rear", "mono_left", "mono_right")):
        return "a RobotCar traversal"
    raise VprError(
        f"{path} holds no drives: a training set (frames.csv), a Boreas sequence (boreas-YYYY-MM-DD-HH-MM) or a "
        "RobotCar traversal (stereo, gps, ...) was expected."
    )
