"""Local features as they are kept in a map: at most so many bytes a keyframe, the most useful keypoints first."""

import json
import struct

import numpy as np

from vpr_ros.local_features.features import LocalFeatures
from vpr_ros.plain_files import parse_json
from vpr_ros.sensors.cameras import Camera

MAX_BYTES = 24_000
WITH_DEPTH = 0.6  # of the room is for keypoints with depth, where there are so many: a pose needs them
_VERSION = 1
_HEAD = struct.Struct("<BxH")  # version, bytes of the JSON that follows
_UNIT = 127.0


def pack(features: LocalFeatures, max_bytes: int = MAX_BYTES) -> bytes:
    """Bytes of the best keypoints that fit: int8 descriptors, 16-bit pixels, fp16 scores and depth."""
    header: dict[str, object] = {"kind": features.kind, "size": list(features.size)}
    if features.camera is not None:
        header["camera"] = features.camera.to_dict()
    if features.T_base_camera is not None:
        header["T_base_camera"] = [round(v, 9) for v in np.asarray(features.T_base_camera)[:3].ravel().tolist()]
    header["depth"] = features.depth_m is not None
    dim = features.descriptors.shape[1]
    each = dim + 2 * 2 + 2 + (2 if features.depth_m is not None else 0)
    room = (max_bytes - _HEAD.size - len(json.dumps({**header, "n": 65535, "dim": dim}))) // each
    kept = features.select(_most_useful(features, max(room, 0)))
    text = json.dumps({**header, "n": len(kept), "dim": dim}).encode()
    scale = np.array(features.size, dtype=np.float64)
    pixels = np.clip(np.round((kept.pixels + 0.5) / scale * 65535), 0, 65535)
    parts = [
        _HEAD.pack(_VERSION, len(text)) + text,
        pixels.astype("<u2").tobytes(),
        kept.scores.astype("<f2").tobytes(),
        np.clip(np.round(kept.descriptors * _UNIT), -127, 127).astype(np.int8).tobytes(),
    ]
    if kept.depth_m is not None:
        parts.append(kept.depth_m.astype("<f2").tobytes())
    return b"".join(parts)


def unpack(data: bytes) -> LocalFeatures:
    """Inverse of `pack`, to its precision; ValueError for damaged bytes."""
    try:
        version, length = _HEAD.unpack_from(data)
        if version != _VERSION:
            raise ValueError(f"local features of version {version}")
        header = parse_json(data[_HEAD.size : _HEAD.size + length].decode())
        n, dim, (width, height) = int(header["n"]), int(header["dim"]), header["size"]
        at = _HEAD.size + length

        def take(dtype: str, count: int) -> np.ndarray:
            nonlocal at
            array = np.frombuffer(data, dtype, count, at)
            at += array.nbytes
            return array

        pixels = take("<u2", 2 * n).reshape(n, 2).astype(np.float64) / 65535 * [width, height] - 0.5
        scores = take("<f2", n).astype(np.float32)
        descriptors = take("i1", n * dim).reshape(n, dim).astype(np.float32)
        depth = take("<f2", n).astype(np.float32) if header["depth"] else None
        camera, mounted = header.get("camera"), header.get("T_base_camera")
        T = None if mounted is None else np.vstack([np.array(mounted, dtype=np.float64).reshape(3, 4), [0, 0, 0, 1]])
        return LocalFeatures(
            str(header["kind"]),
            (int(width), int(height)),
            pixels.astype(np.float32),
            scores,
            descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9),
            None if camera is None else Camera.from_dict(camera),
            T,
            depth,
        )
    except (struct.error, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged local features ({error})") from error


def _most_useful(features: LocalFeatures, room: int) -> np.ndarray:
    """Rows, rising: the best by score, of which WITH_DEPTH have a depth where so many do."""
    if len(features) <= room:
        return np.arange(len(features))
    deep = np.flatnonzero(features.has_depth)[: int(WITH_DEPTH * room)]
    others = np.setdiff1d(np.arange(len(features)), deep)
    return np.sort(np.concatenate([deep, others[: room - len(deep)]]))
