"""Permanent objects along a street: kerbs, lamps, poles, wires, signs, fences, hedges, bins, benches."""

import numpy as np

from vpr_ros.training.synthetic.conditions import Season
from vpr_ros.training.synthetic.kinds import kind_of
from vpr_ros.training.synthetic.world.city import OLD, RURAL, SUBURB, URBAN, City, Street, street_rng
from vpr_ros.training.synthetic.world.ground import Ground
from vpr_ros.training.synthetic.world.lots import Lots
from vpr_ros.training.synthetic.world.mesh import GLASS, LAMP, SIGN, Mesh
from vpr_ros.training.synthetic.world.vegetation import add_hedge


def along_street(street: Street, s, offset) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) `offset` metres left of the centre line at distances `s`, and the street's direction there (n,)."""
    s, offset = np.atleast_1d(s), np.broadcast_to(offset, np.shape(np.atleast_1d(s)))
    at = np.column_stack([np.interp(s, street.along, street.points[:, k]) for k in range(2)])
    t = np.column_stack([np.interp(s, street.along, street.tangent[:, k]) for k in range(2)])
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    return at + offset[:, None] * np.column_stack([-t[:, 1], t[:, 0]]), np.arctan2(t[:, 1], t[:, 0])


def _up(xy, z):
    xy = np.atleast_2d(xy)
    return np.column_stack([xy, np.broadcast_to(z, len(xy))])


def lamp_places(city: City, street: Street) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Lamp posts of a street: feet (n, 2), inward direction (n,), offsets' sign (n,) and mounting height."""
    rng = street_rng(city.seed, street, 51)
    spacing = {
        URBAN: rng.uniform(20, 30),
        OLD: rng.uniform(14, 22),
        SUBURB: rng.uniform(28, 42),
        RURAL: rng.uniform(60, 110),
    }[street.zone]
    spacing *= 4 if kind_of(city.seed) == "sparse" else 1
    s = np.arange(rng.uniform(6, 12), street.length_m - 6, spacing)
    side = np.where(np.arange(len(s)) % 2 == 0, 1, -1) * rng.choice([-1, 1])
    if street.zone == SUBURB:
        side = np.full(len(s), rng.choice([-1, 1]))
    gap = 0.45 if street.pavement_m > 1 else 0.15
    foot, direction = along_street(street, s, side * (street.half_width_m + gap))
    height = {URBAN: 7.5, OLD: 4.0, SUBURB: 5.5, RURAL: 6.5}[street.zone]
    return foot, direction - side * np.pi / 2, side, height


def _lamps(mesh: Mesh, city: City, street: Street) -> None:
    foot, inward, _, height = lamp_places(city, street)
    if not len(foot):
        return
    tone = [(0.12, 0.16, 0.14), (0.42, 0.43, 0.44), (0.07, 0.07, 0.08)][city.style.lamp_kind]
    reach = {URBAN: 1.6, OLD: 0.5, SUBURB: 1.0, RURAL: 1.0}[street.zone]
    head = foot + reach * np.column_stack([np.cos(inward), np.sin(inward)])
    mesh.tubes(_up(foot, 0), _up(foot, height), 0.095, 0.065, 6, tint=tone, material="metal")
    mesh.tubes(_up(foot, height - 0.2), _up(head, height + 0.1), 0.05, 0.04, 4, tint=tone, material="metal")
    if city.style.lamp_kind == 2 or street.zone == OLD:
        mesh.boxes(
            _up(head, height - 0.25), [[0.2, 0.2, 0.3]], inward, True, kind=LAMP, tint=(1.0, 0.82, 0.5), night=1.0
        )
        mesh.boxes(_up(head, height + 0.1), [[0.26, 0.26, 0.06]], inward, tint=tone)
    else:
        mesh.boxes(_up(head, height + 0.05), [[0.42, 0.17, 0.08]], inward, True, tint=tone)
        mesh.boxes(
            _up(head, height - 0.05), [[0.34, 0.13, 0.04]], inward, True, kind=LAMP, tint=(1.0, 0.82, 0.5), night=1.0
        )


def _wires(mesh: Mesh, city: City, street: Street, rng) -> None:
    if not city.style.wires or street.zone not in (SUBURB, RURAL):
        return
    side = rng.choice([-1, 1])
    s = np.linspace(5, street.length_m - 5, max(2, int(street.length_m / rng.uniform(24, 38)) + 1))
    foot, direction = along_street(street, s, side * (street.half_width_m + street.pavement_m + 0.5))
    height = rng.uniform(6.8, 8.5)
    mesh.tubes(_up(foot, 0), _up(foot, height), 0.14, 0.1, 6, tint=(0.22, 0.16, 0.11), material="bark")
    mesh.boxes(_up(foot, height - 0.5), [[0.06, 0.9, 0.07]], direction, True, tint=(0.2, 0.15, 0.1))
    for k in (-0.8, 0.0, 0.8):
        ends, _ = along_street(street, s, side * (street.half_width_m + street.pavement_m + 0.5) + k)
        for a, b in zip(ends[:-1], ends[1:], strict=True):
            f = np.linspace(0, 1, 8)
            line = np.column_stack([a + f[:, None] * (b - a), height - 0.4 - 3.2 * f * (1 - f)])
            mesh.tubes(line[:-1], line[1:], 0.022, 0.022, 3, tint=(0.05, 0.05, 0.05))
    if rng.random() < 0.6:
        mesh.boxes(
            _up(foot[len(foot) // 2], height - 1.5),
            [[0.3, 0.3, 0.45]],
            0.0,
            True,
            tint=(0.4, 0.42, 0.42),
            material="metal",
        )


def _kerbs(mesh: Mesh, street: Street, ground: Ground, tint) -> None:
    if street.zone == RURAL:
        return
    s = np.linspace(0, street.length_m, max(2, int(street.length_m / 3)))
    for side in (1, -1):
        inner, _ = along_street(street, s, side * street.half_width_m)
        outer, _ = along_street(street, s, side * (street.half_width_m + 0.22))
        free = (ground.edge_distance(outer[:-1]) > -0.1) & (ground.edge_distance(outer[1:]) > -0.1)
        a, b, c, d = inner[:-1][free], inner[1:][free], outer[1:][free], outer[:-1][free]
        face = np.stack([_up(a, 0.0), _up(b, 0.0), _up(b, 0.13), _up(a, 0.13)], 1)
        top = np.stack([_up(a, 0.13), _up(b, 0.13), _up(c, 0.13), _up(d, 0.13)], 1)
        mesh.quads(np.concatenate([face, top]), tint=tint, material="concrete")


def _sign_posts(mesh: Mesh, street: Street, rng) -> None:
    count = rng.poisson({URBAN: 0.035, OLD: 0.01, SUBURB: 0.02, RURAL: 0.012}[street.zone] * street.length_m)
    for s in rng.uniform(8, max(9, street.length_m - 8), count):
        side = rng.choice([-1, 1])
        foot, direction = along_street(street, s, side * (street.half_width_m + 0.4))
        height, size, facing = (
            rng.uniform(2.1, 2.6),
            rng.uniform(0.3, 0.45),
            float(direction[0]) + (np.pi if side > 0 else 0),
        )
        mesh.tubes(_up(foot, 0), _up(foot, height + size), 0.035, 0.035, 4, tint=(0.5, 0.5, 0.5), material="metal")
        right = np.array([np.sin(facing), -np.cos(facing), 0.0])
        centre = np.array([foot[0, 0] - 0.05 * np.cos(facing), foot[0, 1] - 0.05 * np.sin(facing), height])
        up, shape = np.array([0, 0, 1.0]), rng.integers(3)
        colour = [(0.7, 0.06, 0.06), (0.05, 0.16, 0.55), (0.75, 0.6, 0.08), (0.75, 0.75, 0.75)][rng.integers(4)]
        if shape == 2:
            quad = [
                centre + x * size * right + y * size * up
                for x, y in ((-1.3, -0.8), (1.3, -0.8), (1.3, 0.8), (-1.3, 0.8))
            ]
            mesh.quads([quad], [[[0, 0], [1, 0], [1, 1], [0, 1]]], kind=SIGN, upper=int(rng.integers(16)), night=0.1)
        else:
            n = 3 if shape else 10
            for r, tone, ahead in ((1.0, colour, 0.0), (0.68, (0.8, 0.8, 0.78), 0.02)):
                angle = np.arange(n + 1) * 2 * np.pi / n + np.pi / 2
                rim = centre + size * r * (np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * up)
                rim -= ahead * np.array([np.cos(facing), np.sin(facing), 0])
                mid = centre - ahead * np.array([np.cos(facing), np.sin(facing), 0])
                mesh.triangles(np.stack([np.broadcast_to(mid, (n, 3)), rim[:-1], rim[1:]], 1), tint=tone)


def _small_things(mesh: Mesh, street: Street, rng) -> None:
    """Bins, benches, boxes, bollards, hydrants, advertising columns, bus shelters on the pavement."""
    if street.pavement_m < 1.2:
        return
    count = rng.poisson(street.length_m * {URBAN: 0.09, OLD: 0.05, SUBURB: 0.04, RURAL: 0.0}[street.zone])
    for s in rng.uniform(7, max(8, street.length_m - 7), count):
        side = rng.choice([-1, 1])
        kind = rng.choice(
            ["bin", "box", "bollards", "bench", "column", "shelter", "planter"],
            p=[0.25, 0.2, 0.2, 0.12, 0.08, 0.08, 0.07],
        )
        edge = street.half_width_m + (0.7 if kind in ("bollards", "bin") else max(0.8, street.pavement_m - 0.6))
        foot, direction = along_street(street, s, side * edge)
        yaw, tone = float(direction[0]), rng.uniform(0.05, 0.5, 3)
        if kind == "bin":
            mesh.tubes(_up(foot, 0), _up(foot, 0.95), 0.25, 0.29, 8, tint=tone * 0.6)
        elif kind == "box":
            mesh.boxes(
                _up(foot, 0.6),
                [rng.uniform(0.3, 0.7), 0.22, 0.6],
                yaw,
                tint=(0.35, 0.38, 0.34) if rng.random() < 0.6 else (0.62, 0.5, 0.05),
            )
        elif kind == "bollards":
            feet, _ = along_street(street, s + 1.6 * np.arange(5), side * (street.half_width_m + 0.4))
            mesh.tubes(_up(feet, 0), _up(feet, 0.9), 0.07, 0.06, 6, tint=(0.09, 0.09, 0.1))
        elif kind == "bench":
            mesh.boxes(_up(foot, 0.45), [0.9, 0.24, 0.05], yaw, True, tint=(0.30, 0.19, 0.10), material="planks")
            mesh.boxes(_up(foot, 0.22), [0.75, 0.18, 0.2], yaw, tint=(0.12, 0.12, 0.12))
        elif kind == "column":
            mesh.tubes(_up(foot, 0), _up(foot, 3.1), 0.55, 0.55, 12, tint=tone + 0.25, material="rough")
            mesh.tubes(_up(foot, 3.1), _up(foot, 3.6), 0.65, 0.05, 12, tint=(0.1, 0.2, 0.15))
        elif kind == "planter":
            mesh.boxes(_up(foot, 0.3), [0.6, 0.3, 0.3], yaw, tint=(0.4, 0.38, 0.35), material="concrete")
        else:
            back, _ = along_street(street, s, side * (edge + 0.1))
            mesh.boxes(_up(back, 1.3), [1.9, 0.03, 1.0], yaw, kind=GLASS, tint=(0.10, 0.12, 0.13))
            mesh.boxes(_up(foot, 2.5), [2.1, 0.8, 0.06], yaw, True, tint=(0.2, 0.22, 0.24))
            ends, _ = along_street(street, s + np.array([-1.9, 1.9]), side * (edge - 0.5))
            mesh.tubes(_up(ends, 0), _up(ends, 2.5), 0.05, 0.05, 4, tint=(0.2, 0.2, 0.2))


def _garden_fronts(mesh: Mesh, street: Street, lots: Lots, ground: Ground, rng, season: Season) -> None:
    for side in (1, -1):
        park = (street.index, side) in lots.park_sides
        if not park and street.zone not in (SUBURB, RURAL):
            continue
        at = 4.0
        while at < street.length_m - 8:
            run = min(rng.uniform(8, 22), street.length_m - 5 - at)
            s = np.linspace(at, at + run, max(2, int(run / 2.2)))
            at += run + rng.uniform(1.5, 4 if street.zone == SUBURB else 40)
            line, _ = along_street(
                street,
                s,
                side * (street.half_width_m + street.pavement_m + 0.35 + (1.2 if street.zone == RURAL else 0)),
            )
            if run < 4 or ground.edge_distance(line).min() < 0.3:
                continue
            kind = rng.choice(["hedge", "wall", "picket", "rails", "none"], p=[0.32, 0.2, 0.2, 0.16, 0.12])
            height = rng.uniform(0.8, 1.7)
            middle, step = (line[:-1] + line[1:]) / 2, np.diff(line, axis=0)
            half, yaw = np.linalg.norm(step, axis=1) / 2, np.arctan2(step[:, 1], step[:, 0])
            n = len(half)
            if kind == "hedge":
                add_hedge(mesh, line, height, int(rng.integers(1 << 20)), season)
            elif kind == "wall":
                tint = [(0.42, 0.2, 0.14), (0.5, 0.48, 0.44)][rng.integers(2)]
                mesh.boxes(
                    _up(middle, height * 0.45),
                    np.column_stack([half, np.full(n, 0.14), np.full(n, height * 0.45)]),
                    yaw,
                    tint=tint,
                    material="brick" if tint[1] < 0.3 else "stone",
                )
            elif kind == "picket":
                tint = rng.choice([[0.72, 0.72, 0.70], [0.28, 0.19, 0.12], [0.2, 0.3, 0.24]])
                mesh.boxes(
                    _up(middle, height * 0.4),
                    np.column_stack([half, np.full(n, 0.03), np.full(n, height * 0.4)]),
                    yaw,
                    tint=tint,
                    material="planks",
                )
            elif kind == "rails":
                mesh.tubes(_up(line, 0), _up(line, height), 0.06, 0.06, 4, tint=(0.25, 0.2, 0.15), material="bark")
                for z in (0.4, 0.85):
                    mesh.tubes(
                        _up(line[:-1], z * height), _up(line[1:], z * height), 0.04, 0.04, 4, tint=(0.3, 0.24, 0.18)
                    )


def _arcade(mesh: Mesh, street: Street, lights: list) -> None:
    s = np.arange(0.18 * street.length_m, 0.82 * street.length_m, 4.0)
    width = street.half_width_m + street.pavement_m
    for side in (1, -1):
        feet, yaw = along_street(street, s, side * (street.half_width_m + 0.1))
        mesh.boxes(_up(feet, 1.9), [[0.24, 0.24, 1.9]], yaw, tint=(0.5, 0.46, 0.40), material="stone")
    centre, yaw = along_street(street, (s[:-1] + s[1:]) / 2, 0.0)
    mesh.boxes(_up(centre, 4.1), [[2.15, width + 0.3, 0.3]], yaw, True, tint=(0.52, 0.48, 0.42), material="plaster")
    mesh.boxes(_up(centre, 3.72), [[0.14, width, 0.12]], yaw, True, tint=(0.24, 0.17, 0.11), material="planks")
    mesh.boxes(_up(centre[::2], 3.5), [[0.25, 0.12, 0.06]], yaw[::2], True, kind=LAMP, tint=(1.0, 0.85, 0.6), night=2.0)
    lights.append(np.column_stack([centre[::2], np.full(len(centre[::2]), 3.5)]))


def add_street_furniture(
    mesh: Mesh, city: City, street: Street, lots: Lots, ground: Ground, season: Season
) -> np.ndarray:
    """Furnish one street; returns its lamps (n, 3): x, y, height."""
    rng = street_rng(city.seed, street, 53)
    lights = []
    if street.arcade:
        _arcade(mesh, street, lights)
    else:
        _lamps(mesh, city, street)
        foot, inward, _, height = lamp_places(city, street)
        if len(foot):
            head = foot + np.column_stack([np.cos(inward), np.sin(inward)])
            lights.append(np.column_stack([head, np.full(len(head), height)]))
        _wires(mesh, city, street, rng)
        if kind_of(city.seed) != "sparse" or rng.random() < 0.3:  # else nothing stands beside the road but the field
            _sign_posts(mesh, street, rng)
            _small_things(mesh, street, rng)
            _garden_fronts(mesh, street, lots, ground, rng, season)
    _kerbs(mesh, street, ground, city.style.pavement_colour * 1.15 + 0.04)
    return np.concatenate(lights) if lights else np.zeros((0, 3))
