"""What a person wants to know about a map, as one dictionary fit for JSON."""

from typing import Any, Literal

import numpy as np

from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.schema import payload_tables
from vpr_ros.place_map.store import PlaceMap

FEWEST_KEYFRAMES = 20  # fewer do not show what similarity is ordinary between places
FAR = 5  # keyframes of one session that are at least so many apart show different places, as a rule
LIKE_A_NEIGHBOUR = 0.95  # of the similarities to far keyframes, that one to a neighbour exceeds where drives overlap
LEAST_ALIKE = 0.25  # share of keyframes with such a neighbour; of unordered pictures it is a tenth
_LOOKED_INTO = 100  # keyframes whose local features are counted
COMPARED = 500  # keyframes at most, with each other

MapPoses = Literal["map", "odometry", "none"]


def limits(keyframes: Keyframes) -> list[str]:
    """What a map cannot tell, for people: a sentence each; empty for an ordinary one."""
    count = len(keyframes)
    if 0 < count < FEWEST_KEYFRAMES:
        return [
            f"The map has only {count} keyframes, too few to tell what is ordinary for it: only what looks very "
            "much alike is accepted. Map a longer drive, or one with more keyframes."
        ]
    if count and _alike(keyframes) < LEAST_ALIKE:
        return [
            "Neighbouring keyframes of the map do not look alike, as if it had one picture of each place: the order of "
            "frames says nothing in it, and probabilities rest on single pictures. Map a drive with more pictures of "
            "each place, or expect few to be accepted."
        ]
    return []


def _alike(keyframes: Keyframes) -> float:
    """The share of keyframes that look like the one before or behind them, more than like those far from them."""
    compared = np.unique(np.linspace(0, len(keyframes) - 1, COMPARED).astype(np.int64))
    others = keyframes.descriptors[compared].astype(np.float32)
    alike: list[bool] = []
    for row in compared.tolist():
        session, view = keyframes.sessions[row], keyframes.descriptors[row].astype(np.float32)
        near = [i for i in (row - 1, row + 1) if 0 <= i < len(keyframes) and keyframes.sessions[i] == session]
        far = (keyframes.sessions[compared] == session) & (np.abs(compared - row) >= FAR)
        if near and far.sum() >= FEWEST_KEYFRAMES // 2:
            nearest = float((keyframes.descriptors[near].astype(np.float32) @ view).max())
            alike.append(nearest > float(np.quantile(others[far] @ view, LIKE_A_NEIGHBOUR)))
    return float(np.mean(alike)) if alike else 1.0


def info(place_map: PlaceMap) -> dict[str, Any]:
    """Counts, sessions, lengths (m), extent (m), rates (Hz), sizes (bytes), model, calibration and limits of a map.

    A session's `rotation` is the turn (degrees clockwise) that made its pictures upright. It `added` so many keyframes,
    of which those not removed since are its `keyframes`, with `bytes` by what is kept of them; of views that would have
    been keyframes as well, `known` were answered by the map as it was.
    """
    keyframes, cameras = place_map.keyframes(), place_map.cameras
    removed, passed_over, sizes = place_map.removed, place_map.passed_over, _session_bytes(place_map)
    sessions: list[dict[str, Any]] = [
        {
            "id": session.id,
            "name": session.name,
            "source": session.source,
            "created": session.created,
            "rotation": cameras[session.id].rotation if session.id in cameras else 0,
            **(drive := _drive(keyframes.select(keyframes.sessions == session.id))),
            "added": drive["keyframes"] + removed.get(session.id, 0),
            "known": passed_over.get(session.id, 0),
            "bytes": sizes.get(session.id, {}),
        }
        for session in place_map.sessions()
    ]
    calibration = place_map.get_calibration()
    return {
        "path": str(place_map.path),
        "map_id": place_map.map_id,
        "version": place_map.version,
        "schema_version": place_map.schema_version,
        "created": place_map.created,
        "model_name": place_map.model_name,
        "fingerprint": place_map.fingerprint,
        "dim": place_map.dim,
        "descriptor_parts": place_map.parts,
        "preprocessing": place_map.preprocessing,
        "frame_id": place_map.frame_id,
        "datum": place_map.datum,
        "place_radius": place_map.place_radius_m,
        "place_radius_unit": "m" if place_map.has_poses else "frames",
        "calibration": "checkpoint" if calibration is None else f"map ({calibration.get('source', 'unnamed')})",
        "keyframes": len(keyframes),
        "keyframes_with_pose": int(keyframes.has_pose.sum()),
        "length_m": float(sum(session["length_m"] for session in sessions)),
        "extent_m": _extent(keyframes),
        "limits": limits(keyframes),
        "local_features": _local_features(place_map, keyframes),
        "sessions": sessions,
        **_sizes(place_map, len(keyframes)),
    }


def _drive(keyframes: Keyframes) -> dict[str, Any]:
    """Figures of one session; its length is that of odometry where the map frame has no poses."""
    count = len(keyframes)
    duration_s = float(np.ptp(keyframes.stamps_ns)) / 1e9 if count else 0.0
    poses = keyframes.T_map_base if keyframes.has_pose.any() else keyframes.T_odom_base
    positions = poses[np.isfinite(poses[:, 0, 3]), :3, 3]
    return {
        "keyframes": count,
        "first_stamp_ns": int(keyframes.stamps_ns[0]) if count else None,
        "last_stamp_ns": int(keyframes.stamps_ns[-1]) if count else None,
        "duration_s": duration_s,
        "rate_hz": (count - 1) / duration_s if duration_s > 0 else None,
        "length_m": float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum()),
        "map_poses": _map_poses(keyframes),
    }


def _map_poses(keyframes: Keyframes) -> MapPoses:
    """Where the poses of a session in the map frame come from: the mapper takes odometry's while a map is empty."""
    known = keyframes.has_pose
    if not known.any():
        return "none"
    same = np.array_equal(keyframes.T_map_base[known], keyframes.T_odom_base[known])
    return "odometry" if same else "map"


def _extent(keyframes: Keyframes) -> dict[str, list[float]] | None:
    positions = keyframes.T_map_base[keyframes.has_pose, :3, 3]
    if not len(positions):
        return None
    return {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}


def _local_features(place_map: PlaceMap, keyframes: Keyframes) -> dict[str, Any] | None:
    """Kind, share of keyframes that have them, and of an even sample of those: mean keypoints, share with depth."""
    if not place_map.has_features:
        return None
    sample = keyframes.ids[np.unique(np.linspace(0, len(keyframes) - 1, _LOOKED_INTO).astype(np.int64))]
    found = [place_map.features(i) for i in sample.tolist()]
    counts = np.array([(len(one), one.has_depth.sum()) for one in found if one is not None]).reshape(-1, 2)
    points, deep = counts.sum(axis=0)
    with place_map.reading() as db:
        (rows,) = db.execute("SELECT count(*) FROM features").fetchone()
    return {
        "kind": place_map.local_features,
        "keyframes_share": rows / len(keyframes),
        "mean_keypoints": float(points / max(len(counts), 1)),
        "depth_share": float(deep / max(points, 1)),
    }


def _session_bytes(place_map: PlaceMap) -> dict[int, dict[str, int]]:
    """Of sessions with keyframes: what each table keeps of them, in bytes."""
    sizes: dict[int, dict[str, int]] = {}
    with place_map.reading() as db:
        for table, column in payload_tables(db).items():
            select = f"SELECT k.session, sum(length(t.{column})) FROM {table} t JOIN keyframes k NOT INDEXED"
            for session, size in db.execute(f"{select} ON k.id = t.id GROUP BY k.session"):
                sizes.setdefault(session, {})[table] = size
    return sizes


def _sizes(place_map: PlaceMap, count: int) -> dict[str, Any]:
    file_bytes = place_map.file_bytes
    parts: dict[str, dict[str, int]] = {}
    with place_map.reading() as db:
        for table, column in payload_tables(db).items():
            rows, size = db.execute(f"SELECT count(*), coalesce(sum(length({column})), 0) FROM {table}").fetchone()
            parts[table] = {"count": rows, "bytes": size}
    return {
        "file_bytes": file_bytes,
        "bytes_per_keyframe": file_bytes / count if count else None,
        "parts": parts,
    }
