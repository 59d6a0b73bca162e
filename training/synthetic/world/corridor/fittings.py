"""What hangs on and stands before the walls of a passage: doors, windows, boards, radiators, cabinets, benches."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vpr_ros.training.synthetic.world.corridor.walls import Wall
from vpr_ros.training.synthetic.world.mesh import GLASS, LAMP, SIGN, Mesh

Fitting = Literal["door", "window", "board", "radiator", "cabinet", "bench", "extinguisher", "posters", "pipe"]
WIDTH_M: dict[Fitting, tuple[float, float]] = {
    "door": (0.85, 1.05),
    "window": (1.0, 1.8),
    "board": (1.0, 2.2),
    "radiator": (0.8, 1.6),
    "cabinet": (0.6, 1.2),
    "bench": (1.2, 1.8),
    "extinguisher": (0.2, 0.2),
    "posters": (0.5, 1.0),
    "pipe": (0.15, 0.3),
}
SILL_M, LINTEL_M = 1.0, 2.15  # of windows
PAINTS = np.array(
    [
        [0.72, 0.70, 0.64],
        [0.66, 0.62, 0.48],
        [0.50, 0.60, 0.56],
        [0.52, 0.58, 0.66],
        [0.70, 0.60, 0.52],
        [0.60, 0.60, 0.60],
        [0.74, 0.73, 0.71],
        [0.62, 0.52, 0.30],
    ]
)
LEAVES = np.array(
    [
        [0.42, 0.26, 0.14],
        [0.62, 0.60, 0.56],
        [0.16, 0.24, 0.36],
        [0.44, 0.12, 0.10],
        [0.20, 0.30, 0.22],
        [0.5, 0.4, 0.3],
    ]
)


@dataclass(frozen=True)
class InteriorStyle:
    """Properties of a whole building; colours are linear."""

    height_m: float
    walls: np.ndarray  # (3, 3), one for each wing
    dado: np.ndarray  # (3, 3) of the wall's lower band
    dado_m: float  # its height; 0: none
    leaves: np.ndarray  # (2, 3) doors
    frame: np.ndarray  # (3,)
    material: str
    floor: np.ndarray
    floor_material: str
    ceiling_material: str
    door_gap_m: float  # usual distance between fittings
    windows: float  # share of an outer wall's fittings that are windows
    lamp_m: float  # between lamps
    lamp_half_m: tuple[float, float]  # along and across the passage
    tray: bool  # pipes and cable trays below the ceiling
    rail: bool  # handrail


def interior_style(seed: int) -> InteriorStyle:
    """The building of world `seed`."""
    rng = np.random.default_rng([seed, 61])
    walls = np.clip(PAINTS[rng.permutation(len(PAINTS))[:3]] + rng.uniform(-0.05, 0.05, (3, 3)), 0.1, 0.85)
    return InteriorStyle(
        height_m=float(rng.uniform(2.4, 3.2)),
        walls=walls,
        dado=np.clip(walls * rng.uniform(0.45, 0.9, (3, 1)), 0.05, 0.8),
        dado_m=float(rng.choice([0.0, 0.12, 0.9])),
        leaves=LEAVES[rng.permutation(len(LEAVES))[:2]],
        frame=np.array([0.35, 0.34, 0.32]) * rng.uniform(0.4, 2.0),
        material=str(rng.choice(["plaster", "plain", "brick", "concrete", "panels"])),
        floor=np.array([0.34, 0.32, 0.29]) * rng.uniform(0.5, 1.5) + rng.uniform(-0.04, 0.04, 3),
        floor_material=str(rng.choice(["slabs", "plain", "planks", "rough", "concrete"])),
        ceiling_material=str(rng.choice(["plain", "panels", "plaster", "concrete"])),
        door_gap_m=float(rng.uniform(0.3, 1.6)),
        windows=float(rng.uniform(0.3, 0.8)),
        lamp_m=float(rng.uniform(2.4, 4.5)),
        lamp_half_m=(0.6, 0.08) if rng.random() < 0.5 else (0.3, 0.3) if rng.random() < 0.5 else (0.12, 0.6),
        tray=bool(rng.random() < 0.5),
        rail=bool(rng.random() < 0.3),
    )


@dataclass(frozen=True)
class Place:
    """A fitting with its extent along its wall, metres."""

    what: Fitting
    first_m: float
    last_m: float
    seed: int

    @property
    def middle_m(self) -> float:
        return (self.first_m + self.last_m) / 2


def furnish(wall: Wall, style: InteriorStyle, rng: np.random.Generator) -> list[Place]:
    """What stands along one wall, from its start to its end; nothing overlaps."""
    plain: list[Fitting] = ["door", "board", "radiator", "cabinet", "bench", "extinguisher", "posters", "pipe"]
    found, at = [], 0.25 + rng.uniform(0, style.door_gap_m)
    while at < wall.length_m - 0.5:
        what = plain[rng.choice(8, p=[0.46, 0.13, 0.06, 0.08, 0.05, 0.07, 0.1, 0.05])]
        if wall.outer and rng.random() < style.windows:
            what = "window"
        width = float(rng.uniform(*WIDTH_M[what]))
        if at + width > wall.length_m - 0.2:
            break
        found.append(Place(what, at, at + width, int(rng.integers(1 << 30))))
        at += width + style.door_gap_m * float(rng.uniform(0.3, 1.8))
    return found


def box(mesh: Mesh, wall: Wall, along, inward, z, half, **look) -> None:
    """A box beside a wall: `half` extents along it, away from it and up; the middle at (along, inward, z)."""
    yaw = float(np.arctan2(wall.along[1], wall.along[0]))
    mesh.boxes(wall.at(along, inward, z), [half], yaw, True, **look)


def panel(mesh: Mesh, wall: Wall, first, last, low, high, inward=0.0, **look) -> None:
    """A rectangle parallel to a wall, from `first` to `last` along it."""
    corners = wall.at(np.array([first, last, last, first]), inward, np.array([low, low, high, high]))
    if "uv" not in look:
        look["uv"] = [[[first, low], [last, low], [last, high], [first, high]]]
    mesh.quads(corners[None], **look)


def sign(mesh: Mesh, wall: Wall, first, last, low, high, upper: int, inward=0.03) -> None:
    """A printed board; fronts face the passage with their text the right way round."""
    panel(
        *(mesh, wall, first, last, low, high, inward),
        uv=[[[1, 0], [0, 0], [0, 1], [1, 1]]] if _mirrored(wall) else [[[0, 0], [1, 0], [1, 1], [0, 1]]],
        kind=SIGN,
        upper=upper,
    )


def _mirrored(wall: Wall) -> bool:
    """Whether the wall runs from right to left for one who looks at it from the passage."""
    right = np.array([-wall.inward[1], wall.inward[0]])  # of a viewer who faces the wall, that is -inward
    return bool(right @ wall.along < 0)


def add_fitting(mesh: Mesh, wall: Wall, place: Place, style: InteriorStyle, drive: np.random.Generator) -> None:
    """One fitting; `drive` decides what differs from drive to drive (doors that stand open, new posters)."""
    rng = np.random.default_rng(place.seed)
    first, last, m = place.first_m, place.last_m, place.middle_m
    half = (last - first) / 2
    tone = rng.uniform(0.08, 0.6, 3)
    if place.what == "door":
        leaf, top = style.leaves[rng.choice(2, p=[0.75, 0.25])], 2.05
        for s in (-1, 1):
            box(mesh, wall, m + s * (half + 0.03), 0.03, top / 2, [0.05, 0.05, top / 2], tint=style.frame)
        box(mesh, wall, m, 0.03, top + 0.04, [half + 0.08, 0.05, 0.05], tint=style.frame)
        if drive.random() < 0.15:  # it stands open on a dark or a lit room
            lit = drive.random() < 0.4
            panel(mesh, wall, first, last, 0.02, top, 0.015, tint=(1.0, 0.93, 0.8) if lit else (0.03, 0.03, 0.035))
            return
        panel(mesh, wall, first, last, 0.02, top, 0.02, tint=leaf, material="planks" if rng.random() < 0.5 else "plain")
        side = rng.choice([-1, 1])
        box(mesh, wall, m + side * half * 0.8, 0.06, 1.03, [0.07, 0.04, 0.015], tint=(0.45, 0.45, 0.43))
        if rng.random() < 0.3:
            panel(mesh, wall, m - 0.14, m + 0.14, 1.2, 1.85, 0.03, kind=GLASS, tint=(0.05, 0.06, 0.07))
        if rng.random() < 0.7:
            x = m + rng.choice([-1, 1]) * (half + 0.22)
            sign(mesh, wall, x - 0.1, x + 0.1, 1.5, 1.64, int(rng.integers(16)))
    elif place.what == "window":
        for x, z, h in (
            (first, (SILL_M + LINTEL_M) / 2, [0.03, 0.06, (LINTEL_M - SILL_M) / 2]),
            (last, (SILL_M + LINTEL_M) / 2, [0.03, 0.06, (LINTEL_M - SILL_M) / 2]),
            (m, (SILL_M + LINTEL_M) / 2, [0.02, 0.03, (LINTEL_M - SILL_M) / 2]),
            (m, LINTEL_M, [half, 0.06, 0.03]),
            (m, SILL_M, [half + 0.05, 0.12, 0.02]),
        ):
            box(mesh, wall, x, 0.0, z, h, tint=(0.7, 0.7, 0.68))
        if rng.random() < 0.6:
            box(mesh, wall, m, 0.06, 0.5, [half * 0.8, 0.05, 0.28], tint=(0.68, 0.67, 0.62), material="siding")
    elif place.what in ("board", "posters"):
        low, high = (0.95, 1.9) if place.what == "board" else (1.1, 1.8)
        if place.what == "board":
            box(mesh, wall, m, 0.01, (low + high) / 2, [half, 0.02, (high - low) / 2], tint=tone * 0.7 + 0.1)
        for k in range(int(rng.integers(1, 7))):
            source = drive if drive.random() < 0.15 else rng
            w, h = source.uniform(0.1, min(0.3, half)), source.uniform(0.14, 0.42)
            x, z = source.uniform(first + w, last - w), source.uniform(low + h / 2, high - h / 2)
            if source.random() < 0.4:
                sign(mesh, wall, x - w, x + w, z - h / 2, z + h / 2, int(source.integers(16)), 0.035 + 0.002 * k)
            else:
                paper = source.uniform(0.15, 0.85, 3)
                panel(mesh, wall, x - w, x + w, z - h / 2, z + h / 2, 0.035 + 0.002 * k, tint=paper)
    elif place.what == "radiator":
        box(mesh, wall, m, 0.07, 0.45, [half, 0.06, 0.32], tint=(0.68, 0.67, 0.62), material="siding")
    elif place.what == "cabinet":
        high = rng.uniform(0.8, 2.0)
        box(mesh, wall, m, 0.17, high / 2, [half, 0.16, high / 2], tint=tone, material="metal")
    elif place.what == "bench":
        box(mesh, wall, m, 0.18, 0.44, [half, 0.17, 0.03], tint=tone, material="planks")
        for s in (-0.8, 0.8):
            box(mesh, wall, m + s * half, 0.18, 0.2, [0.03, 0.15, 0.2], tint=(0.15, 0.15, 0.15))
    elif place.what == "extinguisher":
        foot = wall.at(m, 0.1, 0.45)
        mesh.tubes(foot, foot + [0, 0, 0.5], 0.08, 0.07, 8, tint=(0.6, 0.05, 0.04))
        sign(mesh, wall, m - 0.12, m + 0.12, 1.5, 1.72, 1)
    else:
        foot = wall.at(m, 0.08, 0.0)
        mesh.tubes(foot, foot + [0, 0, style.height_m], 0.06, 0.06, 7, tint=tone)


def add_lamp(mesh: Mesh, xy: np.ndarray, yaw: float, style: InteriorStyle, on: bool) -> None:
    """A lamp at the ceiling over `xy`."""
    along, across = style.lamp_half_m
    mesh.boxes([*xy, style.height_m - 0.04], [along, across, 0.035], yaw, True, tint=(0.5, 0.5, 0.5))
    mesh.boxes(
        *([*xy, style.height_m - 0.08], [along * 0.95, across * 0.9, 0.01], yaw, True),
        kind=LAMP,
        tint=(1.0, 0.96, 0.88),
        night=0.35 if on else 0.02,
    )
