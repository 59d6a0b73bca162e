"""Every default of an option is that of the configuration or the function which the command calls."""

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from vpr_ros.cli.app import app
from vpr_ros.cli.options import READING
from vpr_ros.configuration import DecisionConfig, GateConfig, RecognitionConfig
from vpr_ros.evaluation.protocols.folders import FolderConfig
from vpr_ros.offline.align import align_bags
from vpr_ros.offline.evaluate_run import TruthConfig
from vpr_ros.offline.localize_bag import LocalizeBagConfig
from vpr_ros.offline.loops.bag import LoopsConfig
from vpr_ros.offline.map_bag import MapBagConfig
from vpr_ros.offline.record_bag import FramesConfig
from vpr_ros.place_map import Bound, prune, replace_poses
from vpr_ros.runtime.settings import PLACE_RADIUS_M, PipelineConfig, RecordingConfig
from vpr_ros.sensors import DriveConfig, folder_to_bag
from vpr_ros.student import fit_projection
from vpr_ros.student.parts import ReductionConfig
from vpr_ros.training.adapt.frames import FramesFromBags
from vpr_ros.training.adapt.learning import LearningConfig
from vpr_ros.training.adapt.places import PlaceSize
from vpr_ros.training.data.convert.boreas import convert_boreas
from vpr_ros.training.data.convert.robotcar import convert_robotcar
from vpr_ros.training.data.datasets.robotcar.submaps import write_submaps
from vpr_ros.training.evaluation import evaluate_model, evaluate_split
from vpr_ros.training.export.runtime_checkpoint import export_student
from vpr_ros.training.student.config.run import ExportConfig
from vpr_ros.training.synthetic import render_training_set
from vpr_ros.training.synthetic.demo import DemoConfig


def options():
    """{(command, parameter): option} of the whole command line."""
    found, waiting = {}, [((), typer.main.get_command(app))]
    while waiting:
        path, command = waiting.pop()
        waiting += [((*path, name), child) for name, child in getattr(command, "commands", {}).items()]
        found |= {(" ".join(path), one.name): one for one in command.params if one.param_type_name == "option"}
    return found


OPTIONS = options()

# What owns the default: a configuration class or a function, and the name of the field or argument.
OWNERS = {
    ("adapt", "start"): (PipelineConfig, "checkpoint"),
    ("adapt", "pairs"): (FramesFromBags, "pairs"),
    ("adapt", "place_radius"): (PlaceSize, "radius_m"),
    ("adapt", "steps"): (LearningConfig, "steps"),
    ("adapt", "seed"): (LearningConfig, "seed"),
    ("map", "distance_m"): (GateConfig, "distance_m"),
    ("map", "heading_deg"): (GateConfig, "heading_deg"),
    ("map", "novelty"): (GateConfig, "novelty_similarity"),
    ("map", "keyframe_every"): (GateConfig, "every_n"),
    ("map", "known_lead"): (GateConfig, "known_lead"),
    ("map", "clouds"): (MapBagConfig, "clouds"),
    ("map", "place_radius"): (MapBagConfig, "place_radius"),
    ("map", "batch"): (MapBagConfig, "batch_size"),
    ("localize", "batch"): (LocalizeBagConfig, "batch_size"),
    ("localize", "verify"): (LocalizeBagConfig, "verify"),
    ("localize", "accept_probability"): (DecisionConfig, "accept_probability"),
    ("localize", "precision"): (DecisionConfig, "accept_precision"),
    ("loops", "accept_probability"): (DecisionConfig, "accept_probability"),
    ("loops", "precision"): (DecisionConfig, "accept_precision"),
    ("loops", "batch"): (LoopsConfig, "batch_size"),
    ("localize", "drive_mean_frames"): (RecognitionConfig, "drive_mean_frames"),
    ("eval folders", "drive_mean_frames"): (FolderConfig, "drive_mean_frames"),
    ("eval folders", "tolerance"): (FolderConfig, "tolerance"),
    ("localize", "only_stamps"): (LocalizeBagConfig, "only_stamps"),
    ("prune", "spacing_m"): (prune, "min_spacing_m"),
    ("prune", "heading_deg"): (prune, "heading_deg"),
    ("prune", "max_keyframes"): (Bound, "keyframes"),
    ("prune", "max_mb"): (Bound, "file_bytes"),
    ("prune", "reach"): (prune, "reach"),
    ("poses", "max_gap_s"): (replace_poses, "max_gap_s"),
    ("project", "dim"): (fit_projection, "dim"),
    ("project", "whiten"): (ExportConfig, "whiten"),
    ("project", "global_dim"): (ReductionConfig, "global_dim"),
    ("project", "global_whiten"): (ReductionConfig, "global_whiten"),
    ("project", "cell_dim"): (ReductionConfig, "cell_dim"),
    ("project", "cell_whiten"): (ReductionConfig, "cell_whiten"),
    ("project", "unit_cells"): (ReductionConfig, "unit_cells"),
    ("bag", "rate_hz"): (folder_to_bag, "rate_hz"),
    ("bag", "storage"): (folder_to_bag, "storage"),
    ("align", "method"): (align_bags, "method"),
    ("demo", "workers"): (DemoConfig, "workers"),
    ("demo", "length_m"): (DemoConfig, "length_m"),
    ("demo", "offmap_m"): (DemoConfig, "offmap_length_m"),
    ("render", "drives"): (render_training_set, "drives_per_city"),
    ("render", "workers"): (render_training_set, "workers"),
    ("render", "lidar"): (render_training_set, "with_lidar"),
    ("export", "projection"): (export_student, "projection"),
    ("frames", "frame_every"): (RecordingConfig, "frame_every"),
    **{
        ("frames", name): (FramesConfig, name)
        for name in (
            "drive",
            "city",
            "condition",
            "spacing_m",
            "heading_deg",
            "require_cloud",
            "jpeg_quality",
            "max_width",
        )
    },
    ("eval run", "radius_m"): (TruthConfig, "radius_m"),
    ("eval run", "heading_deg"): (TruthConfig, "max_heading_deg"),
    ("eval run", "tolerance"): (TruthConfig, "tolerance_frames"),
    ("eval run", "truth_topic"): (TruthConfig, "truth_topic"),
    ("eval drives", "radius_m"): (evaluate_model, "radius_m"),
    ("eval drives", "measure"): (evaluate_model, "measure"),
    ("eval submaps", "measure"): (evaluate_split, "measure"),
    ("convert robotcar", "camera"): (convert_robotcar, "camera"),
    ("convert robotcar", "lidar"): (convert_robotcar, "lidar"),
    ("convert boreas", "reduce"): (convert_boreas, "reduce"),
    ("convert boreas", "lidar"): (convert_boreas, "lidar"),
    ("convert boreas", "poses"): (convert_boreas, "poses"),
    ("convert submaps", "poses"): (write_submaps, "poses"),
}

# The command line owns these: what it calls has no default, or one for other callers.
OWN = {
    ("map", "jobs"),
    ("map", "engine"),
    ("project", "max_images"),
    ("demo", "conditions"),
    ("localize", "report"),
    ("loops", "verify"),
    ("eval folders", "baselines"),
    ("eval folders", "pca_dim"),
    ("eval drives", "pca_dim"),
    ("eval submaps", "split"),
    ("export", "pose"),
    ("render", "split"),
    ("render", "camera"),
    ("render", "cities"),
    ("render", "frames"),
    ("render", "places"),
    ("render", "height"),
    ("render", "width"),
}
SHARED = {
    "checkpoint": (PipelineConfig, "checkpoint"),
    "device": (PipelineConfig, "device"),
    "rotate": (DriveConfig, "rotate"),
    **{name: (DriveConfig, name) for name in READING},
}


def default_of(owner, name):
    if inspect.isclass(owner):
        (field,) = [field for field in fields(owner) if field.name == name]
        return field.default
    return inspect.signature(owner).parameters[name].default


def owner_of(key):
    return OWNERS.get(key) or SHARED.get(key[1])


COMPARED = [key for key in OPTIONS if owner_of(key)]


@pytest.mark.parametrize("key", COMPARED, ids=" ".join)
def test_default_is_that_of_its_owner(key):
    assert OPTIONS[key].default == default_of(*owner_of(key))


def test_every_owned_option_exists():
    assert set(OWNERS) | OWN <= set(OPTIONS)


def test_every_default_has_an_owner():
    """Switches that are off, options without a default and output folders need none."""
    valued = {key for key, one in OPTIONS.items() if one.default not in (None, False, ()) and key[1] != "resume"}
    folders = {key for key in valued if isinstance(OPTIONS[key].default, Path)}
    assert valued - folders - set(COMPARED) - OWN == set()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("map", "place_radius"), PLACE_RADIUS_M),
        (("export", "dim"), ExportConfig.projection_dim),
        (("export", "whiten"), ExportConfig.whiten),
        (("eval folders", "truth"), FolderConfig.truth),
    ],
)
def test_help_states_the_default_that_an_option_without_one_stands_for(key, value):
    stated = f"{value:g}" if isinstance(value, float) else str(value)
    assert re.search(rf"default[^)]*\b{stated}\)|{stated} \(the default\)", OPTIONS[key].help)
