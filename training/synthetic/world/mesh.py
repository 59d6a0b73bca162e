"""Triangles with a material per triangle, collected in batches and packed once."""

import numpy as np

from vpr_ros.training.synthetic.world.textures import MATERIAL_ID

(GENERIC, FACADE, GROUND, LEAF, EVERGREEN, LAMP, GLASS, SIGN, CAR_LIGHT) = range(9)

FLOATS = ("floor_m", "bay_m", "floors", "night")
INTS = ("kind", "material", "upper", "ground", "seed")


def _repeat(attributes: dict, times: int) -> dict:
    """Per-shape attributes spread over the shape's parts; what all shapes share stays as it is."""
    return {
        k: np.repeat(np.asarray(v), times, axis=0) if np.ndim(v) > (k == "tint") else v for k, v in attributes.items()
    }


class Mesh:
    """A collection of triangles; attributes are scalars or one value per added shape."""

    def __init__(self):
        self._batches: list[dict] = []

    def triangles(self, corners, uv=None, tint=(0.5, 0.5, 0.5), material="plain", **attributes):
        """Add triangles `corners` (n, 3, 3) with `uv` (n, 3, 2) in metres (fractions for signs) and linear `tint`."""
        corners = np.asarray(corners, np.float32).reshape(-1, 3, 3)
        n = len(corners)
        if n == 0:
            return
        attributes["material"] = MATERIAL_ID[material] if isinstance(material, str) else material
        attributes["tint"] = np.asarray(tint, np.float32)
        attributes["uv"] = (
            np.zeros((n, 3, 2), np.float32) if uv is None else np.asarray(uv, np.float32).reshape(n, 3, 2)
        )
        self._batches.append({"corners": corners, **attributes})

    def append(self, packed: dict[str, np.ndarray]):
        """Add what another mesh packed."""
        if len(packed["corners"]):
            self._batches.append(packed)

    def quads(self, corners, uv=None, **attributes):
        """Add quads (n, 4, 3), counter-clockwise; without `uv` it is metres along the first and last edge."""
        corners = np.asarray(corners, np.float32).reshape(-1, 4, 3)
        n = len(corners)
        if uv is None:
            w = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
            h = np.linalg.norm(corners[:, 3] - corners[:, 0], axis=1)
            o = np.zeros(n, np.float32)
            uv = np.stack([np.stack([o, o], 1), np.stack([w, o], 1), np.stack([w, h], 1), np.stack([o, h], 1)], 1)
        uv = np.asarray(uv, np.float32).reshape(n, 4, 2)
        order = np.array([[0, 1, 2], [0, 2, 3]])
        twice = _repeat(attributes, 2)
        self.triangles(corners[:, order].reshape(-1, 3, 3), uv[:, order].reshape(-1, 3, 2), **twice)

    def boxes(self, centre, half, yaw: float | np.ndarray = 0.0, bottom=False, **attributes):
        """Add boxes: `centre` (n, 3), `half` extents (n, 3), `yaw` (n,) about z."""
        centre, half = np.atleast_2d(np.asarray(centre, np.float64)), np.atleast_2d(np.asarray(half, np.float64))
        n = len(centre) if len(half) == 1 else len(half)
        if n == 0:
            return
        centre, half = np.broadcast_to(centre, (n, 3)), np.broadcast_to(half, (n, 3))
        yaw = np.broadcast_to(np.asarray(yaw, np.float64), (n,))
        signs = np.array(
            [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]
        )
        local = half[:, None] * signs
        c, s = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
        world = np.stack(
            [c * local[..., 0] - s * local[..., 1], s * local[..., 0] + c * local[..., 1], local[..., 2]], -1
        )
        world += centre[:, None]
        faces = [[0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7], [4, 5, 6, 7]] + (
            [[3, 2, 1, 0]] if bottom else []
        )
        per = _repeat(attributes, len(faces))
        self.quads(world[:, faces].reshape(-1, 4, 3), **per)

    def tubes(self, start, end, r0, r1, sides=5, **attributes):
        """Add tapered tubes from `start` (n, 3) to `end` (n, 3) with radii (n,)."""
        start, end = np.atleast_2d(np.asarray(start, np.float64)), np.atleast_2d(np.asarray(end, np.float64))
        n = len(start)
        corners, uv = tube_quads(start, end, np.broadcast_to(r0, (n,)), np.broadcast_to(r1, (n,)), sides)
        per = _repeat(attributes, sides)
        self.quads(corners, uv, **per)

    def pack(self) -> dict[str, np.ndarray]:
        """All triangles as arrays: corners (n, 3, 3), uv (n, 3, 2), tint (n, 3) and one array per attribute."""
        counts = np.array([len(b["corners"]) for b in self._batches], np.int64)
        starts = np.concatenate([[0], np.cumsum(counts)])
        out = {
            key: np.concatenate([b[key] for b in self._batches] or [np.zeros((0, *tail), np.float32)])
            for key, tail in (("corners", (3, 3)), ("uv", (3, 2)))
        }
        for name, width, dtype in (
            [("tint", 3, np.float32)] + [(k, 1, np.int32) for k in INTS] + [(k, 1, np.float32) for k in FLOATS]
        ):
            # Most batches share one value; only the others are written triangle by triangle.
            values = [np.asarray(b.get(name, 0)) for b in self._batches]
            plain = int(width > 1)
            scalars = np.array([v if v.ndim == plain else np.zeros(v.shape[1:]) for v in values], dtype).reshape(
                len(values), -1
            )
            full = np.repeat(scalars, counts, axis=0)
            for k, v in enumerate(values):
                if v.ndim > plain:
                    full[starts[k] : starts[k + 1]] = v.reshape(len(v), -1)
            out[name] = np.ascontiguousarray(full if width > 1 else full[:, 0])  # type: ignore[assignment]
        return out


def tube_quads(start, end, r0, r1, sides: int):
    """Side quads (n * sides, 4, 3) and uv of tapered tubes."""
    axis = end - start
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    axis = axis / np.maximum(length, 1e-6)
    helper = np.where(np.abs(axis[:, 2:3]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    e1 = np.cross(axis, helper)
    e1 /= np.linalg.norm(e1, axis=1, keepdims=True)
    e2 = np.cross(axis, e1)
    angle = np.arange(sides + 1) * 2 * np.pi / sides
    ring = np.cos(angle)[None, :, None] * e1[:, None] + np.sin(angle)[None, :, None] * e2[:, None]
    low = start[:, None] + np.asarray(r0)[:, None, None] * ring
    high = end[:, None] + np.asarray(r1)[:, None, None] * ring
    corners = np.stack([low[:, :-1], low[:, 1:], high[:, 1:], high[:, :-1]], 2)
    width = 2 * np.pi * np.asarray(r0)[:, None] / sides
    u0 = width * np.arange(sides)[None]
    zero, top = np.zeros_like(u0), np.broadcast_to(length, u0.shape)
    uv = np.stack(
        [
            np.stack([u0, zero], -1),
            np.stack([u0 + width, zero], -1),
            np.stack([u0 + width, top], -1),
            np.stack([u0, top], -1),
        ],
        2,
    )
    return corners.reshape(-1, 4, 3), uv.reshape(-1, 4, 2)
