"""Rows of the distillation tables: worlds, teachers, the student, every row's losses, and the run of a row as data."""

from teachers import CLOUD, IMAGE, SETTINGS

from vpr_ros.training.common.yaml_config import with_settings
from vpr_ros.training.losses import DISTILLATION_WEIGHTS
from vpr_ros.training.student.config import DistillationConfig, TrainConfig, check
from vpr_ros.training.teacher.config import TeacherConfig
from vpr_ros.training.teacher.config import check as check_teacher

WORLD = {"camera": "fixed", "lidar": "clean", "above_ground_m": 0.5}
DRIVES = {
    "conditions": (
        ("summer", "day", "clear"),
        ("winter", "overcast", "snow"),
        ("autumn", "dusk", "rain"),
        ("summer", "night", "clear"),
    )
}
# name: seeds, drives per city, frames per drive, further settings
SETS = {
    "train": (range(300, 340), 3, 50, {}),
    "validation": (range(1050, 1053), 4, 60, DRIVES),
    "test": (range(2100, 2105), 4, 90, DRIVES),
}
TEACHERS = {
    "teacher, cloud alone": {"model.teacher": "minkloc++-cloud", "model.options": {"dim": 128, **CLOUD}},
    "teacher, fused": {
        "model.teacher": "minkloc++",
        "model.options": {"cloud_dim": 128, "image_dim": 128, **CLOUD, **IMAGE},
        "task.head_weights": {"final": 0.5, "cloud": 0.5, "image": 0.5},
    },
}
TEACHER_SETTINGS = {**SETTINGS, "optimisation.epochs": 8, "optimisation.milestones": (6,)}

# One student for every row: nano on 56 x 56 pixels, from random weights.
STUDENT = {
    "model.student": "nano",
    "model.options": {"image_size": [56, 56]},
    "task.loss": "contrastive",
    # the best for the student alone on validation cities, of 1, 2 and 4 thousandths
    "optimisation.learning_rate": 2e-3,
    "optimisation.epochs": 1,
    "optimisation.steps_per_epoch": 360,
    "data.places_per_batch": 16,
    "data.images_per_place": 3,
    "augmentation.ramp": (0.3, 0.3),
    "data.cache": True,
    "hardware.threads": 1,
    "hardware.accelerator": "cpu",
}
TAUGHT = {"head": "linear", "head_for": "widths", "teacher_space": "centred", "sparse": "torch"}
# Of a loss's own weights: searched for every row of `methods` on validation cities, with seed 0 and a third of the
# steps; rows of the other tables take their parent's.
FACTORS = (0.1, 1.0, 8.0)
SEARCH_STEPS = 120
OURS = {"loss": "relations", "teacher_space": "whitened"}

METHODS: dict[str, dict | None] = {
    "student alone": None,
    "KD": {"loss": "kd"},
    "AFD": {"loss": "afd"},
    "EPC-Net": {"loss": "epc-net"},
    "RKD": {"loss": "rkd"},
    "CSD": {"loss": "csd"},
    "LSD-Net": {"loss": "lsd-net"},
    "MKD": {"loss": "mkd"},
    "S, released": {"loss": "distilvpr-s-released"},
    "C, released": {"loss": "distilvpr-c-released"},
    "SC, released": {"loss": "distilvpr-s-released+distilvpr-c-released"},
    "S, paper": {"loss": "distilvpr-s"},
    "C, paper": {"loss": "distilvpr-c"},
    "SC, paper": {"loss": "distilvpr-s+distilvpr-c"},
    "ours": OURS,
}


def only(row: dict, *terms: str) -> dict:
    """A row's losses reduced to some of their terms."""
    names = [term for name in row["loss"].split("+") for term in DISTILLATION_WEIGHTS[name]]
    return {**row, "weights": {name: 0.0 for name in names if not name.endswith(terms)}}


SC = METHODS["SC, released"] or {}
AGENTS: dict[str, dict | None] = {
    "tt-ss (S, released)": METHODS["S, released"],
    "ts-ss (C, released)": METHODS["C, released"],
    "tt-ts": {"loss": "distilvpr-tt-ts-released"},
    "both (SC, released)": SC,
}
MANIFOLDS: dict[str, dict | None] = {
    "Euclidean": only(SC, "euclidean"),
    "angle and cosine": only(SC, "angle", "cosine"),
    "hyperbolic": only(SC, "hyperbolic"),
    "Euclidean, angle and cosine": only(SC, "euclidean", "angle", "cosine"),
}
WIDTHS: dict[str, dict | None] = {
    "S on the descriptor": METHODS["S, released"],
    "S through a linear head": {"loss": "distilvpr-s-released", "head_for": "all"},
    "S through a head of two layers": {"loss": "distilvpr-s-released", "head_for": "all", "head": "mlp"},
    "SC, cross terms through the head": SC,
    "SC through a linear head": {**SC, "head_for": "all"},
    "ours": OURS,
    "ours, teacher centred only": {"loss": "relations"},
    "ours, teacher as it is": {"loss": "relations", "teacher_space": "raw"},
    "SC, released, teacher as it is": {**SC, "teacher_space": "raw"},
}
TABLES = {
    "methods": [*TEACHERS, *METHODS],
    "agents": ["student alone", *AGENTS],
    "manifolds": ["student alone", *MANIFOLDS, "SC, released"],
    "widths": ["student alone", *WIDTHS],
}
SEARCH_SEED, TAUGHT_BY = 0, 1  # seeds of the search, and of the one teacher of all students
ROWS: dict[str, dict | None] = {**METHODS, **AGENTS, **MANIFOLDS, **WIDTHS}
PARENT = {row: "ours" if row.startswith("ours") else "SC, released" for row in (*AGENTS, *MANIFOLDS, *WIDTHS)}
UNSEARCHED = ("student alone", "ts-ss (C, released)", "tt-ts")  # cross terms keep the published weight, as in SC


def teacher_config(name: str, seed: int):
    """The run of one teacher and seed."""
    settings = {**TEACHER_SETTINGS, **TEACHERS[name], "optimisation.seed": seed}
    return check_teacher(with_settings(TeacherConfig(), settings))


def student_config(row: str, seed: int, factor: float):
    """The run of one row and seed, its distillation weighed by the factor."""
    distil = ROWS[row]
    section = None if distil is None else DistillationConfig(**{**TAUGHT, **weighed(distil, factor)})
    steps = {"optimisation.steps_per_epoch": SEARCH_STEPS} if seed == SEARCH_SEED else {}
    settings = {**STUDENT, **steps, "optimisation.seed": seed, "distillation": section}
    return check(with_settings(TrainConfig(), settings), folders=False)


def weighed(distil: dict, factor: float) -> dict:
    """A row's losses times the factor. In DistilVPR-SC it acts on λ_S alone, which its authors choose by data set."""
    names = distil["loss"].split("+")
    if len(names) == 1:
        return {**distil, "scale": factor}
    own = {term: weight for name in names for term, weight in DISTILLATION_WEIGHTS[name].items()}
    own |= distil.get("weights", {})
    return {**distil, "weights": {term: weight * factor if "self" in term else weight for term, weight in own.items()}}


def tried(row: str) -> tuple[float, ...]:
    """Factors of the search; some rows have nothing to weigh or keep the published weight."""
    return (1.0,) if row in UNSEARCHED else FACTORS


def same_run(row: str) -> str:
    """The first row that names the same run: a row of several tables is trained once."""
    return next(name for name, distil in ROWS.items() if distil == ROWS[row])
