"""Kinds of world. A world's seed says its kind and its split: nothing that is rendered needs to be told either."""

from typing import Literal, get_args

from vpr_ros.errors import VprError

WorldKind = Literal["city", "repetitive", "sparse", "corridor"]
KINDS: tuple[WorldKind, ...] = get_args(WorldKind)
KIND_STRIDE = 100_000  # seeds of one kind; worlds of different kinds share nothing

TRAIN_SEEDS, VALIDATION_SEEDS, FIRST_TEST_SEED = range(0, 1000), range(1000, 1100), 2000  # within each kind

# Lengths of a drive (spacing, scatter, speed, what counts as the same place) against those in a street.
SCALE: dict[WorldKind, float] = {"city": 1.0, "repetitive": 1.0, "sparse": 1.0, "corridor": 0.1}


def world_seed(kind: WorldKind, number: int) -> int:
    """The seed of world `number` (0 up to KIND_STRIDE) of a kind. Raises VprError for another kind or number."""
    if kind not in KINDS:
        raise VprError(f"no kind of world '{kind}': choose {', '.join(KINDS)}.")
    if not 0 <= number < KIND_STRIDE:
        raise VprError(f"no world {number}: choose 0 to {KIND_STRIDE - 1}.")
    return KINDS.index(kind) * KIND_STRIDE + number


def kind_of(seed: int) -> WorldKind:
    """The kind of world that a seed stands for; VprError for a seed beyond the last kind."""
    if not 0 <= seed < len(KINDS) * KIND_STRIDE:
        raise VprError(f"no world has the seed {seed}: choose 0 to {len(KINDS) * KIND_STRIDE - 1}.")
    return KINDS[seed // KIND_STRIDE]


def scale_of(seed: int) -> float:
    """Lengths in this world against those in a street."""
    return SCALE[kind_of(seed)]
