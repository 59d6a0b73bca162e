"""Which way up a drive's pictures stand, told by a map: some of them, turned all four ways, against its keyframes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.observation import Rotation
from vpr_ros.offline.reporting import bag_images
from vpr_ros.place_map import Describer, PlaceMap
from vpr_ros.place_map.describer import require_same_model
from vpr_ros.sensors.bags.doctor import DoctorReport
from vpr_ros.sensors.bags.stages import OK, WARN, StageVerdict
from vpr_ros.sensors.upright import ROTATIONS, turned

FRAMES = 16  # pictures that are compared
LEAST_FRAMES = 5  # pictures, and keyframes, below which nothing is said
# Of the best way's mean similarity over the second's: at least so much, so many standard deviations of the similarities
# in the other ways, and on this share of the pictures. BENCHMARK.md has what real pictures reach.
LEAST_LEAD, LEAST_DEVIATIONS, LEAST_SHARE = 0.06, 1.0, 0.6
_CHUNK = 65536


@dataclass(frozen=True)
class Orientation:
    """Mean similarity to the map of `frames` pictures in each of ROTATIONS; `rotation` is the one that clearly matches
    best, None where none does."""

    frames: int
    similarity: tuple[float, ...]
    rotation: Rotation | None


def orientation_by_map(images: Sequence[np.ndarray], place_map: PlaceMap, extractor: Describer) -> Orientation:
    """Compares images (H, W, 3) uint8 RGB, as the camera gave them, with a map in all four orientations.

    A picture's similarity is that of its best keyframe, descriptors taken without the mean of the pictures so turned
    and of the map: what all upright pictures share must not count. Raises VprError for a map of another model.
    """
    require_same_model(extractor, place_map)
    described: list[np.ndarray] = []
    for image in images:
        try:
            described.append(np.asarray(extractor.describe([turned(image, r) for r in ROTATIONS]), np.float32))
        except FrameError:
            continue
    rows = np.stack(described, axis=1) if described else np.empty((len(ROTATIONS), 0, extractor.dim), np.float32)
    return best_orientation(rows, np.asarray(place_map.keyframes().descriptors), place_map.parts)


def best_orientation(queries: np.ndarray, keyframes: np.ndarray, parts: Sequence[int]) -> Orientation:
    """Of pictures by their descriptors (4, frames, dim) in each of ROTATIONS, against those (N, dim) of a map."""
    frames = queries.shape[1]
    if frames < LEAST_FRAMES or len(keyframes) < LEAST_FRAMES:
        return Orientation(frames, (), None)
    best = _best_similarities(queries, keyframes, parts)  # (4, frames)
    means = best.mean(axis=1)
    first, *others = np.argsort(-means)
    lead, share = means[first] - means[others[0]], (best.argmax(axis=0) == first).mean()
    clear = lead >= max(LEAST_LEAD, LEAST_DEVIATIONS * best[others].std()) and share >= LEAST_SHARE
    return Orientation(frames, tuple(map(float, means)), ROTATIONS[first] if clear else None)


def orientation_of_bag(
    bag: str | Path,
    image_topic: str | None,
    stamps: Sequence[int] | np.ndarray,
    map_path: str | Path,
    extractor: Describer,
) -> Orientation:
    """As `orientation_by_map`, for pictures of a bag that are spread evenly over the stamps."""
    picks = np.unique(np.linspace(0, len(stamps) - 1, FRAMES).astype(int)) if len(stamps) else []
    found = bag_images(bag, image_topic)([int(stamps[i]) for i in picks])
    images = [image for image in found.values() if isinstance(image, np.ndarray)]
    with PlaceMap.open(map_path) as place_map:
        return orientation_by_map(images, place_map, extractor)


def orientation_advice(found: Orientation, in_force: Rotation) -> str:
    """A sentence where the pictures match in another orientation than the one in force; else empty."""
    if found.rotation is None or found.rotation == in_force:
        return ""
    turned_by, as_is = (found.similarity[ROTATIONS.index(rotation)] for rotation in (found.rotation, in_force))
    way = f"turned by {found.rotation} degrees" if found.rotation else "as the camera gave them"
    return (
        f"{way} the frames match the map (similarity {turned_by:.2f} against {as_is:.2f} as they are now, on "
        f"{found.frames} frames): try --rotate {found.rotation}"
    )


def examine_orientation(report: DoctorReport, map_path: str | Path, extractor: Describer) -> StageVerdict:
    """The stage `orientation` of a bag that the doctor has examined: its pictures against a map."""
    scan = next((topic for topic in report.topics if topic.name == report.image_topic), None)
    stamps = [] if scan is None else scan.stamps_ns if scan.stamps_ns.any() else scan.bag_times_ns
    found = orientation_of_bag(report.path, report.image_topic, stamps, map_path, extractor)
    return orientation_stage(found, report.rotation)


def orientation_stage(found: Orientation, in_force: Rotation) -> StageVerdict:
    """The verdict of `vpr_ros doctor` with a map."""
    if advice := orientation_advice(found, in_force):
        return StageVerdict("orientation", WARN, advice)
    if found.rotation is not None:
        return StageVerdict("orientation", OK, f"the pictures stand as the map's do ({found.frames} frames compared)")
    if not found.similarity:
        few = f"{LEAST_FRAMES} pictures and {LEAST_FRAMES} keyframes are needed to compare orientations with the map"
        return StageVerdict("orientation", WARN, few)
    return StageVerdict(
        "orientation",
        WARN,
        f"turned in no way do {found.frames} frames match the map clearly better than in the others: is it another "
        "place, or light that is too different?",
    )


def _best_similarities(queries: np.ndarray, keyframes: np.ndarray, parts: Sequence[int]) -> np.ndarray:
    """(4, frames): of queries (4, frames, dim) to their best of keyframes (N, dim), all without their means."""
    cuts = np.cumsum(parts)[:-1]
    centre = keyframes.mean(axis=0, dtype=np.float64).astype(np.float32)
    asked = [_unit(part - part.mean(axis=1, keepdims=True)) for part in np.split(queries, cuts, axis=-1)]
    best = np.full(queries.shape[:2], -np.inf, np.float32)
    for start in range(0, len(keyframes), _CHUNK):
        rows = keyframes[start : start + _CHUNK].astype(np.float32) - centre
        kept = [_unit(part) for part in np.split(rows, cuts, axis=-1)]
        total = sum((q @ k.T for q, k in zip(asked, kept, strict=True)), np.float32(0))
        best = np.maximum(best, (total / len(parts)).max(axis=-1))
    return best


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)
