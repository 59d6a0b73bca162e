"""Every distillation loss by name, with its default weights and whether it needs equal widths."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from vpr_ros.training.losses import distil_baselines as baselines
from vpr_ros.training.losses.distilvpr import Direction, Reading, cross_terms, self_terms

LAMBDA_SELF = {"oxford": 10.0, "boreas": 1.0}  # published λ_S of DistilVPR, by data set
LAMBDA_CROSS = 0.1  # published λ_C on both
CURVATURE = 0.1

SELF: dict[Reading, tuple[str, ...]] = {
    "paper": ("self_euclidean", "self_cosine", "self_hyperbolic"),
    "released": ("self_euclidean", "self_angle", "self_hyperbolic"),
}
CROSS: tuple[str, ...] = ("cross_euclidean", "cross_cosine", "cross_hyperbolic")
CROSS_TT_TS: tuple[str, ...] = ("cross_tt_ts_euclidean", "cross_tt_ts_cosine", "cross_tt_ts_hyperbolic")

Function = Callable[[Tensor, Tensor, Tensor | None], dict[str, Tensor]]


@dataclass(frozen=True)
class Distillation:
    """One loss between student (B, D) and teacher (B, D'): call it for its unweighted terms by name."""

    function: Function
    weights: Mapping[str, float]  # default weight of every term
    equal_widths: bool  # D must be D'
    description: str

    def __call__(self, student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        """Scalar terms of a batch, which needs no labels; weights (B,) above 0 say how much each sample counts."""
        return self.function(student, teacher, weights)


def _distilvpr(reading: Reading, *, self_agent: bool, directions: tuple[Direction, ...]) -> Function:
    def function(student: Tensor, teacher: Tensor, weights: Tensor | None) -> dict[str, Tensor]:
        terms = self_terms(student, teacher, weights, reading=reading, curvature=CURVATURE) if self_agent else {}
        if directions:
            terms |= cross_terms(student, teacher, weights, reading=reading, curvature=CURVATURE, directions=directions)
        return terms

    return function


def _readings() -> dict[str, Distillation]:
    """DistilVPR's agents in both readings; λ_S is that of Boreas, where camera and LiDAR teacher differ most."""
    found = {}
    suffixes: dict[Reading, str] = {"paper": "", "released": "-released"}
    ts_ss: tuple[Direction, ...] = ("ts-ss",)
    tt_ts: tuple[Direction, ...] = ("tt-ts",)
    for reading, suffix in suffixes.items():
        inner = dict.fromkeys(SELF[reading], LAMBDA_SELF["boreas"])
        cross = dict.fromkeys(CROSS, LAMBDA_CROSS)
        other = dict.fromkeys(CROSS_TT_TS, LAMBDA_CROSS)
        for name, weights, self_agent, directions, description in (
            ("s", inner, True, (), "self-agent (tt–ss)"),
            ("c", cross, False, ts_ss, "cross-agent (ts–ss)"),
            ("sc", inner | cross, True, ts_ss, "self- and cross-agent"),
            ("tt-ts", other, False, tt_ts, "cross-agent in the other direction (tt–ts), an ablation"),
        ):
            function = _distilvpr(reading, self_agent=self_agent, directions=directions)
            found[f"distilvpr-{name}{suffix}"] = Distillation(
                function, weights, bool(directions), f"DistilVPR {description}, {reading} reading"
            )
    return found


DISTILLATION: dict[str, Distillation] = {
    **_readings(),
    "kd": Distillation(baselines.kd, {"kd": 1.0}, True, "regression of unit embeddings"),
    "afd": Distillation(baselines.afd, {"afd": 1.0}, True, "regression weighted by the teacher's strong entries"),
    "epc-net": Distillation(baselines.epc_net, {"epc_net": 1.0}, True, "regression of raw embeddings"),
    "rkd": Distillation(
        baselines.rkd, {"rkd_distance": 1.0, "rkd_angle": 2.0}, False, "distances of pairs, angles of triples"
    ),
    "csd": Distillation(baselines.csd, {"csd": 1.0}, True, "similarities of the student to the teacher's batch"),
    "lsd-net": Distillation(
        baselines.lsd_net, {"lsd_pattern": 1.0, "lsd_distribution": 1.0}, True, "regression and distribution of entries"
    ),
    "mkd": Distillation(
        baselines.mkd,
        {"mkd_alignment": 1.0, "mkd_correlation": 1.0},
        True,
        "regression and neighbours in the batch",
    ),
    "feature-mse": Distillation(
        baselines.feature_mse, {"feature_mse": 1.0}, True, "D²-VPR's stage 1: mean squared error of unit descriptors"
    ),
    "relations": Distillation(
        baselines.relations,
        {"relation_distance": 2.0, "relation_angle": 1.0, "relation_neighbours": 0.1},
        False,
        "ours: distances, angles and neighbours, for any widths",
    ),
}
DISTILLATION_WEIGHTS: dict[str, dict[str, float]] = {name: dict(d.weights) for name, d in DISTILLATION.items()}
NEEDS_EQUAL_WIDTHS: frozenset[str] = frozenset(name for name, d in DISTILLATION.items() if d.equal_widths)
