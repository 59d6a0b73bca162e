"""All teachers by name, and the function that makes and loads them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpr_ros.errors import VprError
from vpr_ros.tensor_files import fill
from vpr_ros.training.data.sample import NORMALISED
from vpr_ros.training.teachers import published_layouts as layouts
from vpr_ros.training.teachers.adafusion import make_adafusion
from vpr_ros.training.teachers.checkpoints import fill_published, read_teacher
from vpr_ros.training.teachers.cricavpr import make_cricavpr
from vpr_ros.training.teachers.minkloc import make_cloud, make_image, make_minkloc
from vpr_ros.training.teachers.polar import make_polar_grid
from vpr_ros.training.teachers.published_layouts import Layout
from vpr_ros.training.teachers.teacher import Teacher

STARTS = ("imagenet", "dinov2")  # options that name files of initial weights; they are not stored with a network


@dataclass(frozen=True)
class TeacherEntry:
    """The function that makes a teacher, the default options of its name, the layout of its published checkpoints.

    One without a layout has no weights: nothing of it is trained, saved or loaded.
    """

    build: Callable[..., Teacher]
    layout: Layout | None
    description: str
    sizes: dict[str, Any] = dataclasses.field(default_factory=dict)
    published_unit: str = ""  # of the clouds that its published weights were trained on

    @property
    def trained(self) -> bool:
        """Whether it has weights."""
        return self.layout is not None

    @property
    def options(self) -> tuple[str, ...]:
        """Names of its options."""
        return tuple(inspect.signature(self.build).parameters)


TEACHERS: dict[str, TeacherEntry] = {
    "minkloc++": TeacherEntry(
        make_minkloc, layouts.MINKLOC, "MinkLoc++: image and cloud, 256-d", published_unit=NORMALISED
    ),
    "minkloc++-cloud": TeacherEntry(
        make_cloud, layouts.MINKLOC_CLOUD, "MinkLoc++: cloud alone, 256-d", published_unit=NORMALISED
    ),
    "minkloc++-image": TeacherEntry(make_image, layouts.MINKLOC_IMAGE, "MinkLoc++: image alone, 256-d"),
    "adafusion": TeacherEntry(make_adafusion, layouts.ADAFUSION, "AdaFusion: image and occupancy grid, 256-d"),
    "cricavpr": TeacherEntry(make_cricavpr, layouts.CRICAVPR, "CricaVPR: image, 10752-d"),
    "distilvpr-resnet18": TeacherEntry(
        make_image, layouts.DISTIL_STUDENT, "DistilVPR's image student, 384-d", {"dim": 384}
    ),
    "distilvpr-minkloc++": TeacherEntry(
        make_minkloc, layouts.DISTIL_TEACHER, "DistilVPR's teacher: image and cloud, 384-d", {"image_dim": 256}
    ),
    "polar-grid": TeacherEntry(make_polar_grid, None, "polar grid of the cloud's heights: nothing is trained"),
}


def load_teacher(name: str, checkpoint: str | Path | None = None, *, sparse: str = "auto", **options: Any) -> Teacher:
    """A teacher in eval mode, with the weights of a checkpoint or with initial ones; nothing is downloaded.

    `checkpoint`: a file of `save_teacher` (its stored options apply unless `options` replace them) or a published file,
    read strictly and without executing pickled code. `sparse`: backend of sparse convolutions where there are any.
    `options`: those in `TEACHERS[name].options`, such as smaller planes, image sizes and voxels. VprError, in one
    sentence, for an unknown name or option and for a file that does not fit.
    """
    if name not in TEACHERS:
        raise VprError(f"there is no teacher '{name}': choose one of {', '.join(TEACHERS)}.")
    entry = TEACHERS[name]
    unknown = sorted(set(options) - set(entry.options))
    if unknown:
        raise VprError(f"teacher '{name}' has no option {', '.join(unknown)}: it has {', '.join(entry.options)}.")
    if checkpoint is not None and not entry.trained:
        raise VprError(f"teacher '{name}' has no weights: leave the checkpoint {checkpoint} out.")
    state, stored = (None, None) if checkpoint is None else read_teacher(checkpoint)
    if stored is not None:
        if stored["teacher"] != name:
            raise VprError(f"{checkpoint} is a checkpoint of teacher '{stored['teacher']}', not of '{name}'.")
        newer = sorted(set(stored["options"]) - set(entry.options))
        if newer:
            raise VprError(
                f"{checkpoint} was made with unknown options ({', '.join(newer)}): update vpr_ros to read it."
            )
        options = {**stored["options"], **options}
    chosen = {**entry.sizes, **options}
    backend = {"sparse": sparse} if "sparse" in entry.options else {}
    try:
        model = entry.build(**chosen, **backend)
    except (TypeError, ValueError, RuntimeError) as error:
        raise VprError(f"no teacher '{name}' can be made with the options {options}: {error}") from None
    model.made_as = (name, {key: _plain(value) for key, value in chosen.items() if key not in STARTS})
    if state is not None and checkpoint is not None:
        if stored is not None:
            fill(model, state, checkpoint, f"teacher '{name}'")
            model.cloud_unit = str(stored["provenance"].get("cloud_unit", ""))
        elif entry.layout is not None:
            fill_published(model, state, entry.layout, checkpoint, name)
            model.cloud_unit = entry.published_unit
    return model.eval()


def _plain(value: Any) -> Any:
    """An option as JSON returns it after a round trip."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
