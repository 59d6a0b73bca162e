"""What differs between two drives: parked cars, oncoming cars, people."""

from functools import lru_cache

import numpy as np

from .city import OLD, RURAL, SUBURB, URBAN, City, Street
from .furniture import along_street
from .ground import Ground
from .mesh import CAR_LIGHT, GENERIC, GLASS, Mesh

PAINTS = np.array([[.05, .05, .06], [.62, .63, .64], [.32, .33, .35], [.78, .78, .76], [.45, .04, .04], [.05, .12, .35],
                   [.10, .20, .12], [.45, .40, .30], [.16, .16, .17], [.70, .45, .05], [.20, .32, .45]])


# length, width, height, belt line, cabin's front and rear top, its nose and tail at the belt; metres, x forward
SHAPES = {"hatch": (3.9, 1.72, 1.5, .92, 1.0, -1.75, 1.15, -1.95), "sedan": (4.6, 1.8, 1.45, .92, .75, -1.0, 1.15, -1.75),
          "van": (5.0, 1.9, 2.1, 1.15, 1.35, -2.45, 1.75, -2.5), "lorry": (7.5, 2.3, 3.1, 1.2, 3.3, -3.7, 3.6, -3.75)}


@lru_cache(maxsize=8)
def car_shape(kind: str) -> dict[str, np.ndarray]:
    """Packed triangles of a car at the origin, heading along x; painted parts are white and carry seed 1."""
    length, width, height, belt, front, rear, nose, tail = SHAPES[kind]
    mesh, half, l2, low = Mesh(), width / 2, length / 2, .28
    hood = belt * .96
    # Side silhouettes as two stacked prisms: body (below the belt) and cabin (above, with its windows).
    body = [(-l2, low), (l2, low), (l2, hood * .78), (nose if kind != "lorry" else l2, hood), (tail, belt), (-l2, belt * .9)]
    cabin = [(nose, belt * .97), (front, height), (rear, height), (tail, belt * .97)]
    for outline in (body, cabin):
        n = len(outline)
        left = np.array([[x, half - (.14 if z > belt else 0), z] for x, z in outline])
        right = left * [1, -1, 1]
        crate = kind == "lorry" and outline is cabin
        skin = dict(tint=(.55, .55, .53), material="panels") if crate else dict(tint=(1., 1., 1.), seed=1)
        for i in range(n):
            j = (i + 1) % n
            glass = outline is cabin and i in (0, 2) and not crate
            mesh.quads([[right[i], left[i], left[j], right[j]]], **(dict(tint=(.04, .05, .06), kind=GLASS) if glass else skin))
        for flank in (left, right):
            centre = flank.mean(0)
            mesh.triangles(np.stack([np.broadcast_to(centre, (n, 3)), flank, np.roll(flank, -1, 0)], 1), **skin)
            if outline is cabin and not crate:
                pane = centre + (flank - centre) * [.86, 1, .72] + [0, np.sign(centre[1]) * .015, 0]
                mesh.quads(pane[None], tint=(.04, .05, .06), kind=GLASS)
                for x in (.05, -.55):  # door pillars
                    post = [[x + dx, np.sign(centre[1]) * (half - (.14 if z > belt else 0) + .03), z]
                            for dx, z in ((-.05, belt), (.05, belt), (.05, height - .08), (-.05, height - .08))]
                    mesh.quads([post], **skin)
    for x in (-.31 * length, .31 * length):
        for y in (-half + .1, half - .1):
            mesh.tubes([[x, y - .11, .31]], [[x, y + .11, .31]], .32, .32, 10, tint=(.03, .03, .03))
            angle = np.arange(11) * np.pi / 5
            side = np.array([x, y + np.sign(y) * .115, .31])
            for r, tone, out in ((.31, .035, 0.), (.19, .32, .01)):
                ring = side + [0, np.sign(y) * out, 0] + r * np.column_stack([np.cos(angle), 0 * angle, np.sin(angle)])
                hub = np.broadcast_to(side + [0, np.sign(y) * out, 0], (10, 3))
                mesh.triangles(np.stack([hub, ring[:-1], ring[1:]], 1), tint=(tone, tone, tone))
    for x, tone in ((l2 + .01, (1., .95, .8)), (-l2 - .01, (.8, .05, .04))):
        for y in (-half * .72, half * .72):
            mesh.quads([[[x, y - .16, .58], [x, y + .16, .58], [x, y + .16, .72], [x, y - .16, .72]]], tint=tone, kind=CAR_LIGHT)
    for x in (l2 + .012, -l2 - .012):
        mesh.quads([[[x, -.26, .4], [x, .26, .4], [x, .26, .52], [x, -.26, .52]]], tint=(.75, .75, .7))
        mesh.quads([[[x * .999, -half, .28], [x * .999, half, .28], [x * .999, half, .4], [x * .999, -half, .4]]], tint=(.05, .05, .05))
    return mesh.pack()


def add_car(mesh: Mesh, xy, yaw: float, rng: np.random.Generator, lights_on: bool) -> None:
    """One car, van or lorry standing at `xy`, heading along `yaw`."""
    shape = car_shape(("hatch", "sedan", "van", "lorry")[rng.choice(4, p=[.45, .39, .13, .03])])
    stretch = rng.uniform(.93, 1.07, 3) * [1, .98, 1]
    paint = np.clip(PAINTS[rng.integers(len(PAINTS))] * rng.uniform(.8, 1.15), 0, 1)
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * stretch
    painted = shape["seed"] == 1
    mesh.append({**shape, "corners": (shape["corners"] @ turn.T.astype(np.float32) + np.array([xy[0], xy[1], 0], np.float32)),
                 "tint": np.where(painted[:, None], shape["tint"] * paint, shape["tint"]),
                 "night": np.where(shape["kind"] == CAR_LIGHT, 1. if lights_on else .12, 0.)})


def _person(mesh: Mesh, xy, yaw, rng) -> None:
    h = rng.uniform(1.55, 1.9)
    coat, legs, skin = rng.uniform(.03, .5, 3), rng.uniform(.03, .2, 3), np.array([.55, .38, .28]) * rng.uniform(.4, 1.2)
    c, s, stride = np.cos(yaw), np.sin(yaw), rng.uniform(-.22, .22)

    def p(x, y, z):
        return np.array([[xy[0] + c * x - s * y, xy[1] + s * x + c * y, z * h]])

    for side, step in ((.1, stride), (-.1, -stride)):
        mesh.tubes(p(step, side, 0), p(0, side, .48), .06, .09, 5, tint=legs)
        mesh.tubes(p(0, side * 2.2, .80), p(-step, side * 2.4, .48), .055, .04, 4, tint=coat * .9)
    mesh.tubes(p(0, 0, .44), p(0, 0, .66), .17, .19, 7, tint=coat)
    mesh.tubes(p(0, 0, .66), p(0, 0, .84), .19, .13, 7, tint=coat)
    mesh.tubes(p(0, 0, .84), p(0, 0, .93), .075, .10, 7, tint=skin)
    mesh.tubes(p(0, 0, .93), p(0, 0, 1.0), .105, .05, 7, tint=rng.uniform(.02, .3) * np.ones(3), kind=GENERIC)


def add_traffic(mesh: Mesh, city: City, street: Street, ground: Ground, seed: int, night: bool, route_distance) -> None:
    """Parked cars, cars on the road and people along one street, all by `seed`; the lane of the drive stays free.

    `route_distance(xy)` is the distance in metres of points (n, 2) from the drive's line.
    """
    rng = np.random.default_rng([city.seed, street.index, seed, 61])
    busy = city.style.parked_density * rng.uniform(.5, 1.4)
    for side in (1, -1):
        spots = np.arange(9, street.length_m - 9, 5.8)
        if street.parking_m > 0:
            spots = spots[rng.random(len(spots)) < busy]
            offset = street.half_width_m - .5 * street.parking_m
        elif street.zone in (SUBURB, RURAL):  # drives and verges beside the road
            spots = spots[rng.random(len(spots)) < .10 * busy]
            offset = street.half_width_m + street.pavement_m + 2.6
        else:
            continue
        for s in spots + rng.uniform(-.5, .5, len(spots)):
            xy, direction = along_street(street, s, side * offset + rng.normal(0, .1))
            if ground.edge_distance(xy)[0] < -street.half_width_m * .75:
                continue
            turn = 0. if side < 0 else np.pi
            turn += np.pi if rng.random() < .15 else 0.
            add_car(mesh, xy[0], float(direction[0]) + turn + rng.normal(0, .03), rng, False)
        if street.zone != OLD and rng.random() < .8:
            for s in rng.uniform(12, max(13, street.length_m - 12), rng.poisson(street.length_m * {URBAN: .012, SUBURB: .006, RURAL: .005}[street.zone])):
                xy, direction = along_street(street, s, side * .5 * (street.half_width_m - street.parking_m))
                if route_distance(xy)[0] > 2.3 and ground.edge_distance(xy)[0] < -.8:
                    add_car(mesh, xy[0], float(direction[0]) + (np.pi if side > 0 else 0.), rng, night)
    people = rng.poisson(street.length_m * {URBAN: .05, OLD: .03, SUBURB: .012, RURAL: .002}[street.zone] * (.4 if night else 1))
    for s in rng.uniform(3, street.length_m - 3, people):
        away = street.half_width_m + rng.uniform(.3, max(.5, street.pavement_m - .3))
        xy, direction = along_street(street, s, rng.choice([-1, 1]) * away)
        if ground.edge_distance(xy)[0] > .1 and route_distance(xy)[0] > 1.6:
            _person(mesh, xy[0], float(direction[0]) + rng.choice([0, np.pi]) + rng.normal(0, .3), rng)
