"""Objects that differ between two drives: parked cars, oncoming cars, people."""

from functools import lru_cache

import numpy as np

from vpr_ros.training.synthetic.world.city import OLD, RURAL, SUBURB, URBAN, City, Street
from vpr_ros.training.synthetic.world.furniture import along_street
from vpr_ros.training.synthetic.world.ground import Ground
from vpr_ros.training.synthetic.world.mesh import CAR_LIGHT, GENERIC, GLASS, Mesh

PAINTS = np.array(
    [
        [0.05, 0.05, 0.06],
        [0.62, 0.63, 0.64],
        [0.32, 0.33, 0.35],
        [0.78, 0.78, 0.76],
        [0.45, 0.04, 0.04],
        [0.05, 0.12, 0.35],
        [0.10, 0.20, 0.12],
        [0.45, 0.40, 0.30],
        [0.16, 0.16, 0.17],
        [0.70, 0.45, 0.05],
        [0.20, 0.32, 0.45],
    ]
)


# length, width, height, belt line, cabin's front and rear top, its nose and tail at the belt; metres, x forward
SHAPES = {
    "hatch": (3.9, 1.72, 1.5, 0.92, 1.0, -1.75, 1.15, -1.95),
    "sedan": (4.6, 1.8, 1.45, 0.92, 0.75, -1.0, 1.15, -1.75),
    "van": (5.0, 1.9, 2.1, 1.15, 1.35, -2.45, 1.75, -2.5),
    "lorry": (7.5, 2.3, 3.1, 1.2, 3.3, -3.7, 3.6, -3.75),
}


@lru_cache(maxsize=8)
def car_shape(kind: str) -> dict[str, np.ndarray]:
    """Packed triangles of a car at the origin, heading along x; painted parts are white and carry seed 1."""
    length, width, height, belt, front, rear, nose, tail = SHAPES[kind]
    mesh, half, l2, low = Mesh(), width / 2, length / 2, 0.28
    hood = belt * 0.96
    # Side silhouettes as two stacked prisms: body (below the belt) and cabin (above, with its windows).
    body = [
        (-l2, low),
        (l2, low),
        (l2, hood * 0.78),
        (nose if kind != "lorry" else l2, hood),
        (tail, belt),
        (-l2, belt * 0.9),
    ]
    cabin = [(nose, belt * 0.97), (front, height), (rear, height), (tail, belt * 0.97)]
    for outline in (body, cabin):
        n = len(outline)
        left = np.array([[x, half - (0.14 if z > belt else 0), z] for x, z in outline])
        right = left * [1, -1, 1]
        crate = kind == "lorry" and outline is cabin
        skin = dict(tint=(0.55, 0.55, 0.53), material="panels") if crate else dict(tint=(1.0, 1.0, 1.0), seed=1)
        for i in range(n):
            j = (i + 1) % n
            glass = outline is cabin and i in (0, 2) and not crate
            mesh.quads(
                [[right[i], left[i], left[j], right[j]]],
                **(dict(tint=(0.04, 0.05, 0.06), kind=GLASS) if glass else skin),
            )
        for flank in (left, right):
            centre = flank.mean(0)
            mesh.triangles(np.stack([np.broadcast_to(centre, (n, 3)), flank, np.roll(flank, -1, 0)], 1), **skin)  # type: ignore[arg-type]
            if outline is cabin and not crate:
                pane = centre + (flank - centre) * [0.86, 1, 0.72] + [0, np.sign(centre[1]) * 0.015, 0]
                mesh.quads(pane[None], tint=(0.04, 0.05, 0.06), kind=GLASS)
                for x in (0.05, -0.55):  # door pillars
                    post = [
                        [x + dx, np.sign(centre[1]) * (half - (0.14 if z > belt else 0) + 0.03), z]
                        for dx, z in ((-0.05, belt), (0.05, belt), (0.05, height - 0.08), (-0.05, height - 0.08))
                    ]
                    mesh.quads([post], **skin)
    for x in (-0.31 * length, 0.31 * length):
        for y in (-half + 0.1, half - 0.1):
            mesh.tubes([[x, y - 0.11, 0.31]], [[x, y + 0.11, 0.31]], 0.32, 0.32, 10, tint=(0.03, 0.03, 0.03))
            angle = np.arange(11) * np.pi / 5
            side = np.array([x, y + np.sign(y) * 0.115, 0.31])
            for r, tone, out in ((0.31, 0.035, 0.0), (0.19, 0.32, 0.01)):
                ring = side + [0, np.sign(y) * out, 0] + r * np.column_stack([np.cos(angle), 0 * angle, np.sin(angle)])
                hub = np.broadcast_to(side + [0, np.sign(y) * out, 0], (10, 3))
                mesh.triangles(np.stack([hub, ring[:-1], ring[1:]], 1), tint=(tone, tone, tone))
    for x, tone in ((l2 + 0.01, (1.0, 0.95, 0.8)), (-l2 - 0.01, (0.8, 0.05, 0.04))):
        for y in (-half * 0.72, half * 0.72):
            mesh.quads(
                [[[x, y - 0.16, 0.58], [x, y + 0.16, 0.58], [x, y + 0.16, 0.72], [x, y - 0.16, 0.72]]],
                tint=tone,
                kind=CAR_LIGHT,
            )
    for x in (l2 + 0.012, -l2 - 0.012):
        mesh.quads([[[x, -0.26, 0.4], [x, 0.26, 0.4], [x, 0.26, 0.52], [x, -0.26, 0.52]]], tint=(0.75, 0.75, 0.7))
        mesh.quads(
            [[[x * 0.999, -half, 0.28], [x * 0.999, half, 0.28], [x * 0.999, half, 0.4], [x * 0.999, -half, 0.4]]],
            tint=(0.05, 0.05, 0.05),
        )
    return mesh.pack()


def add_car(mesh: Mesh, xy, yaw: float, rng: np.random.Generator, lights_on: bool) -> None:
    """One car, van or lorry standing at `xy`, heading along `yaw`."""
    shape = car_shape(("hatch", "sedan", "van", "lorry")[rng.choice(4, p=[0.45, 0.39, 0.13, 0.03])])
    stretch = rng.uniform(0.93, 1.07, 3) * [1, 0.98, 1]
    paint = np.clip(PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.8, 1.15), 0, 1)
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * stretch
    painted = shape["seed"] == 1
    mesh.append(
        {
            **shape,
            "corners": (shape["corners"] @ turn.T.astype(np.float32) + np.array([xy[0], xy[1], 0], np.float32)),
            "tint": np.where(painted[:, None], shape["tint"] * paint, shape["tint"]),
            "night": np.where(shape["kind"] == CAR_LIGHT, 1.0 if lights_on else 0.12, 0.0),
        }
    )


def add_person(mesh: Mesh, xy, yaw, rng) -> None:
    """A walker at `xy` who faces along `yaw`."""
    h = rng.uniform(1.55, 1.9)
    coat, legs, skin = (
        rng.uniform(0.03, 0.5, 3),
        rng.uniform(0.03, 0.2, 3),
        np.array([0.55, 0.38, 0.28]) * rng.uniform(0.4, 1.2),
    )
    c, s, stride = np.cos(yaw), np.sin(yaw), rng.uniform(-0.22, 0.22)

    def p(x, y, z):
        return np.array([[xy[0] + c * x - s * y, xy[1] + s * x + c * y, z * h]])

    for side, step in ((0.1, stride), (-0.1, -stride)):
        mesh.tubes(p(step, side, 0), p(0, side, 0.48), 0.06, 0.09, 5, tint=legs)
        mesh.tubes(p(0, side * 2.2, 0.80), p(-step, side * 2.4, 0.48), 0.055, 0.04, 4, tint=coat * 0.9)
    mesh.tubes(p(0, 0, 0.44), p(0, 0, 0.66), 0.17, 0.19, 7, tint=coat)
    mesh.tubes(p(0, 0, 0.66), p(0, 0, 0.84), 0.19, 0.13, 7, tint=coat)
    mesh.tubes(p(0, 0, 0.84), p(0, 0, 0.93), 0.075, 0.10, 7, tint=skin)
    mesh.tubes(p(0, 0, 0.93), p(0, 0, 1.0), 0.105, 0.05, 7, tint=rng.uniform(0.02, 0.3) * np.ones(3), kind=GENERIC)


def add_traffic(mesh: Mesh, city: City, street: Street, ground: Ground, seed: int, night: bool, route_distance) -> None:
    """Parked cars, cars on the road and people along one street, all by `seed`; the lane of the drive stays free.

    `route_distance(xy)` is the distance in metres of points (n, 2) from the drive's line.
    """
    rng = np.random.default_rng([city.seed, street.index, seed, 61])
    busy = city.style.parked_density * rng.uniform(0.5, 1.4)
    for side in (1, -1):
        spots = np.arange(9, street.length_m - 9, 5.8)
        if street.parking_m > 0:
            spots = spots[rng.random(len(spots)) < busy]
            offset = street.half_width_m - 0.5 * street.parking_m
        elif street.zone in (SUBURB, RURAL):  # drives and verges beside the road
            spots = spots[rng.random(len(spots)) < 0.10 * busy]
            offset = street.half_width_m + street.pavement_m + 2.6
        else:
            continue
        for s in spots + rng.uniform(-0.5, 0.5, len(spots)):
            xy, direction = along_street(street, s, side * offset + rng.normal(0, 0.1))
            if ground.edge_distance(xy)[0] < -street.half_width_m * 0.75:
                continue
            turn = 0.0 if side < 0 else np.pi
            turn += np.pi if rng.random() < 0.15 else 0.0
            add_car(mesh, xy[0], float(direction[0]) + turn + rng.normal(0, 0.03), rng, False)
        if street.zone != OLD and rng.random() < 0.8:
            for s in rng.uniform(
                12,
                max(13, street.length_m - 12),
                rng.poisson(street.length_m * {URBAN: 0.012, SUBURB: 0.006, RURAL: 0.005}[street.zone]),
            ):
                xy, direction = along_street(street, s, side * 0.5 * (street.half_width_m - street.parking_m))
                if route_distance(xy)[0] > 2.3 and ground.edge_distance(xy)[0] < -0.8:
                    add_car(mesh, xy[0], float(direction[0]) + (np.pi if side > 0 else 0.0), rng, night)
    people = rng.poisson(
        street.length_m * {URBAN: 0.05, OLD: 0.03, SUBURB: 0.012, RURAL: 0.002}[street.zone] * (0.4 if night else 1)
    )
    for s in rng.uniform(3, street.length_m - 3, people):
        away = street.half_width_m + rng.uniform(0.3, max(0.5, street.pavement_m - 0.3))
        xy, direction = along_street(street, s, rng.choice([-1, 1]) * away)
        if ground.edge_distance(xy)[0] > 0.1 and route_distance(xy)[0] > 1.6:
            add_person(mesh, xy[0], float(direction[0]) + rng.choice([0, np.pi]) + rng.normal(0, 0.3), rng)
