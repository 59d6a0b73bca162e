"""Ground as a raster of smooth fields (distance to the road's edge, lateral and along-street coordinates)."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vpr_ros.training.synthetic.world.city import City, make_city

CELL_M = 0.5
MARGIN_M = 95.0


@dataclass(frozen=True)
class Ground:
    """Cell (row, column) lies at x = origin + column * CELL_M, y = origin + row * CELL_M."""

    origin_m: float
    fields: np.ndarray  # (R, C, 4) f32: metres outside the road's edge, lateral, along, metres to the nearer end
    street: np.ndarray  # (R, C) int16 nearest street
    pavement_m: np.ndarray  # (R, C) f32 width of that street's pavement

    def cells(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of points (..., 2), clipped to the raster."""
        index = np.rint((np.asarray(xy) - self.origin_m) / CELL_M).astype(int)
        index = np.clip(index, 0, self.street.shape[0] - 1)
        return index[..., 1], index[..., 0]

    def edge_distance(self, xy: np.ndarray) -> np.ndarray:
        """Metres outside the nearest road's edge (negative on the road) of points (..., 2)."""
        rows, columns = self.cells(xy)
        return self.fields[rows, columns, 0]


@lru_cache(maxsize=3)
def make_ground(seed: int) -> Ground:
    """The raster of city `seed`."""
    city: City = make_city(seed)
    origin = -(city.extent_m + MARGIN_M)
    size = int(np.ceil(-2 * origin / CELL_M))
    points = np.concatenate([s.points for s in city.streets])
    tangent = np.concatenate([s.tangent for s in city.streets])
    along = np.concatenate([s.along for s in city.streets])
    owner = np.concatenate([np.full(len(s.points), s.index) for s in city.streets])
    empty = np.full((size, size), 255, np.uint8)
    # Finer than the cells, so that every centre-line pixel belongs to one sample.
    sample_at = np.full((size, size), -1, np.int32)
    first = 0
    for street in city.streets:
        n = len(street.points)
        t = np.linspace(0, n - 1, int(street.length_m / (0.4 * CELL_M)))
        xy = np.column_stack([np.interp(t, np.arange(n), street.points[:, k]) for k in range(2)])
        cells = np.rint((xy - origin) / CELL_M).astype(int)
        sample_at[cells[:, 1], cells[:, 0]] = first + np.rint(t).astype(int)
        first += n
    empty[sample_at >= 0] = 0
    _, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    labels = np.asarray(labels, dtype=np.int64)
    of_label = np.zeros(int(labels.max()) + 1, np.int32)
    of_label[labels[empty == 0]] = sample_at[empty == 0]
    nearest = of_label[labels]

    axis = (origin + CELL_M * np.arange(size)).astype(np.float32)
    px, py, tx, ty, s0 = (np.ascontiguousarray(v, np.float32)[nearest] for v in (*points.T, *tangent.T, along))
    dx, dy = axis[None, :] - px, axis[:, None] - py
    lateral = tx * dy - ty * dx
    s = s0 + tx * dx + ty * dy
    street = owner[nearest].astype(np.int16)
    length = np.array([x.length_m for x in city.streets], np.float32)[street]
    half = np.array([x.half_width_m for x in city.streets], np.float32)[street]
    overshoot = np.maximum(np.maximum(-s, s - length), 0)
    outside = np.hypot(lateral, overshoot) - half
    fields = np.dstack([outside, lateral, s, np.minimum(s, length - s)]).astype(np.float32)
    pavement = np.array([x.pavement_m for x in city.streets], np.float32)[street]
    return Ground(origin, fields, street, pavement)
