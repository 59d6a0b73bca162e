"""Recall@N of two image folders: every query image is searched in the database folder, without bag, map or filter."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation import metrics
from vpr_ros.evaluation.protocols import image_sets
from vpr_ros.evaluation.protocols.folder_truth import truth_for_folders
from vpr_ros.evaluation.protocols.reduction import ReducedExtractor, content_keys
from vpr_ros.evaluation.truth import Truth
from vpr_ros.recognition.drive_mean import centred_traverses
from vpr_ros.sensors.bags.kinds import refuse_bag
from vpr_ros.sensors.picture_files import list_pictures

ImageMeasure = Literal["cosine", "euclidean"]
CHUNK = 512
TIE = 1e-6  # similarities of single-precision descriptors that differ by less, relative to their lengths, are ties


class ImageDescriber(Protocol):
    """Anything that turns (H, W, 3) uint8 RGB images into rows of a (N, dim) array; more similar = larger product."""

    name: str

    @property
    def parts(self) -> tuple[int, ...]:
        """Lengths of the descriptor's parts; read after the first `describe`."""
        ...

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray: ...


class PixelBaseline:
    """A descriptor without learning: a small grey picture, each patch brought to mean 0 and deviation 1, for the
    cosine.

    The patch normalisation is that of SeqSLAM (Milford and Wyeth, ICRA 2012); it is the baseline for networks.
    """

    name = "pixels"

    def __init__(self, size: tuple[int, int] = (48, 64), patch: int = 8):
        if size[0] % patch or size[1] % patch:
            raise ValueError(f"size {size} is not a multiple of the patch {patch}")
        self.size, self.patch = size, patch
        self.dim = size[0] * size[1]
        self.parts = (self.dim,)

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, dim) float16 rows of unit length (zero for a picture without any contrast)."""
        h, w = self.size
        p = self.patch
        grey = np.zeros((len(images), h, w), dtype=np.float32)
        for i, image in enumerate(images):
            grey[i] = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (w, h), interpolation=cv2.INTER_AREA)
        patches = grey.reshape(len(images), h // p, p, w // p, p)
        centred = patches - patches.mean(axis=(2, 4), keepdims=True)
        # One grey level is added so that a patch of plain sky is not amplified to full contrast.
        normal = (centred / (patches.std(axis=(2, 4), keepdims=True) + 1.0)).reshape(len(images), -1)
        norm = np.linalg.norm(normal, axis=1, keepdims=True)
        return (normal / np.where(norm > 0, norm, 1.0)).astype(np.float16)


class HogBaseline:
    """A descriptor without learning: histograms of oriented gradients of a small grey picture, for the cosine.

    Orientations of 0 to 180 degrees in 9 bins, a gradient shared between the two nearest; histograms over cells of
    16 x 16 pixels, joined and brought to unit length in blocks of 2 x 2 cells that overlap by one. After Dalal and
    Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.
    """

    name = "hog"

    def __init__(self, size: tuple[int, int] = (96, 128), cell: int = 16, bins: int = 9):
        if size[0] % cell or size[1] % cell:
            raise ValueError(f"size {size} is not a multiple of the cell {cell}")
        self.size, self.cell, self.bins = size, cell, bins
        self.dim = (size[0] // cell - 1) * (size[1] // cell - 1) * 4 * bins
        self.parts = (self.dim,)

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, dim) float16 rows of unit length (zero for a picture without any edge)."""
        return np.stack([self._describe(image) for image in images]).astype(np.float16)

    def _describe(self, image: np.ndarray) -> np.ndarray:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        dy, dx = np.gradient(cv2.resize(grey, self.size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32))
        place = np.arctan2(dy, dx) / np.pi % 1 * self.bins  # bin 0 is about an orientation of 0
        lower, above = np.floor(place).astype(int) % self.bins, place % 1
        strength, eye = np.hypot(dx, dy)[..., None], np.eye(self.bins, dtype=np.float32)
        votes = strength * (eye[lower] * (1 - above[..., None]) + eye[(lower + 1) % self.bins] * above[..., None])
        rows, columns = self.size[0] // self.cell, self.size[1] // self.cell
        cells = votes.reshape(rows, self.cell, columns, self.cell, self.bins).sum(axis=(1, 3))
        blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=2)
        # One grey level a pixel is added so that the noise of a plain sky is not amplified to full contrast.
        blocks /= np.linalg.norm(blocks, axis=2, keepdims=True) + self.cell**2
        return blocks.ravel() / max(float(np.linalg.norm(blocks)), 1e-12)


@dataclass(frozen=True)
class FolderConfig:
    truth: str = "names"  # names | frames:K | utm[:RADIUS_M] | a .csv or .npy file
    tolerance: int = 0  # in pictures, of the rows of such a file without one
    ns: tuple[int, ...] = (1, 5, 10, 25)
    mode: metrics.RecallMode = "skip"  # queries without a right answer: "skip" or "miss"
    batch_size: int = 16
    min_grey: float | None = None  # leave out images at most this bright (mean grey 0..255): tunnels
    image_set: str | None = None  # a name of image_sets.IMAGE_SETS: its rule instead of `truth`
    # "cosine": inner product of unit rows; "euclidean": distance of raw ones, as the papers compare PCA
    measure: ImageMeasure = "cosine"
    # The database is compared without its mean, the queries, taken for one drive in the order of their names, without
    # the running mean that remembers so many of them; 0: as they are
    drive_mean_frames: float = 0.0

    @classmethod
    def of_set(cls, name: str, **options) -> "FolderConfig":
        """The protocol of a public image set: its rule, Recall@1/5/10, and its treatment of queries without a right
        answer."""
        return cls(image_set=name, ns=image_sets.NS, mode=image_sets.image_set(name).mode, **options)


@dataclass(frozen=True)
class FolderResult:
    """Recall of one descriptor on two folders."""

    name: str
    recall: dict[int, float]
    queries: int  # queries that were counted
    database: int
    rule: str
    images_per_second: float
    skipped: dict[str, int]
    query_files: tuple[Path, ...] = ()  # that were searched for
    ranks: tuple[int, ...] = ()  # of the most similar right reference of each, from 1; 0 where the truth has none


@dataclass(frozen=True)
class DescribedFiles:
    """Descriptors (M, dim) float32 of the readable files; `rows` (M,) are their places in `files`."""

    files: list[Path]
    rows: np.ndarray
    descriptors: np.ndarray
    mean_grey: np.ndarray
    unreadable: int
    seconds: float


def describe_files(
    extractor: ImageDescriber,
    files: Sequence[Path],
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
) -> DescribedFiles:
    """Describe image files; those that are unreadable, or that the extractor refuses, are left out and counted.

    `progress` gets the number of files done since its last call.
    """
    rows, parts, greys, unreadable, seconds = [], [], [], 0, 0.0
    for start in range(0, len(files), batch_size):
        images: list[np.ndarray] = []
        chosen: list[int] = []
        for row in range(start, min(start + batch_size, len(files))):
            image = pictures.read(files[row])
            if image is None:
                unreadable += 1
                continue
            chosen.append(row)
            images.append(image)
        begin = time.perf_counter()
        vectors = _described(extractor, images)
        seconds += time.perf_counter() - begin
        for row, image, vector in zip(chosen, images, vectors, strict=True):
            if vector is None:
                unreadable += 1
                continue
            rows.append(row)
            parts.append(vector)
            greys.append(float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()))
        if progress:
            progress(min(batch_size, len(files) - start))
    if not parts:
        raise VprError(f"none of the {len(files)} files in {Path(files[0]).parent} is a readable image")
    return DescribedFiles(list(files), np.array(rows), np.stack(parts), np.array(greys), unreadable, seconds)


def _described(extractor: ImageDescriber, images: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """Descriptors (dim,) float32 of images; None for those that the extractor refuses, such as too small ones."""
    try:
        return list(np.asarray(extractor.describe(images), dtype=np.float32)) if images else []
    except FrameError:
        # One bad image fails the whole batch; described one by one, only the bad one fails.
        return [None] if len(images) == 1 else [row for image in images for row in _described(extractor, [image])]


def rank_by_similarity(
    queries: np.ndarray,
    database: np.ndarray,
    positives: Sequence[np.ndarray],
    measure: ImageMeasure = "cosine",
) -> np.ndarray:
    """Ranks (Q,) from 1 of the most similar right row of the database for each query; 0 without a right one.

    positives[q] are rows of `database`. Similarities are inner products ("cosine", of unit rows) or negative distances
    ("euclidean"). Every wrong row that is at least as similar as the most similar right one is counted ahead of it.
    """
    if measure not in ("cosine", "euclidean"):
        raise VprError(f"'{measure}' is not a measure for images: use cosine or euclidean.")
    squares = np.einsum("kd,kd->k", database, database, dtype=np.float64)
    ranks = np.zeros(len(queries), dtype=np.int64)
    for start in range(0, len(queries), CHUNK):
        block = queries[start : start + CHUNK]
        similarity = block @ database.T
        own = np.einsum("qd,qd->q", block, block, dtype=np.float64)
        tie = TIE * np.sqrt(own * squares.max())
        if measure == "euclidean":
            # negative squared distances: the order of the distances themselves
            similarity = np.minimum(2 * similarity - squares - own[:, None], 0.0)
            tie = TIE * (own + squares.max())
        for i, row in enumerate(similarity):
            right = np.asarray(positives[start + i], dtype=np.int64)
            if len(right):
                ahead = row >= row[right].max() - tie[i]
                ranks[start + i] = 1 + ahead.sum() - ahead[right].sum()
    return ranks


def pictures_of_folder(folder: str | Path) -> list[Path]:
    """The pictures of a folder and below, in natural order. VprError where there are none, and for a bag."""
    refuse_bag(folder)
    return list_pictures(folder)


def truth_of_folders(config: FolderConfig, query_files: Sequence[Path], database_files: Sequence[Path]) -> Truth:
    """Truth by the configured rule; ids are rows of `database_files`. VprError where it does not fit the files."""
    if config.image_set:
        return image_sets.truth_of_set(config.image_set, query_files, database_files)
    return truth_for_folders(config.truth, query_files, database_files, config.tolerance)


def evaluate_folders(
    extractor: ImageDescriber,
    database_dir: str | Path,
    query_dir: str | Path,
    config: FolderConfig | None = None,
    progress: Callable[[int], None] | None = None,
) -> FolderResult:
    """Recall@N of `extractor` when every image of `query_dir` is searched among those of `database_dir`.

    Raises VprError for folders without images, a truth rule that does not fit the names, no query with an answer, or
    an extractor whose `reduction` was fitted on any of these images.
    """
    config = config or FolderConfig()
    database_files, query_files = pictures_of_folder(database_dir), pictures_of_folder(query_dir)
    truth = truth_of_folders(config, query_files, database_files)
    reduction = extractor.reduction if isinstance(extractor, ReducedExtractor) else None
    if reduction is not None:
        for folder, files in ((database_dir, database_files), (query_dir, query_files)):
            reduction.refuse(content_keys(files), str(folder))
    database = describe_files(extractor, database_files, config.batch_size, progress)
    queries = describe_files(extractor, query_files, config.batch_size, progress)
    use_d, use_q = _bright(database, config.min_grey), _bright(queries, config.min_grey)
    if config.min_grey is not None and config.truth == "names":
        # A pair that is dark on one side is left out on both, so that database and queries stay the same places.
        dark = {x.files[r].stem for x, use in ((database, use_d), (queries, use_q)) for r in x.rows[~use]}
        use_d &= np.array([database_files[r].stem not in dark for r in database.rows])
        use_q &= np.array([query_files[r].stem not in dark for r in queries.rows])
    d_rows, q_rows = database.rows[use_d], queries.rows[use_q]
    truth = _restrict(truth.select(q_rows), d_rows)
    if not truth.on_map.any():
        rule = f"--protocol {config.image_set}" if config.image_set else f"--truth {config.truth}"
        raise VprError(f"no query has a right answer under {rule}: do the folders belong together?")
    searched, asked = database.descriptors[use_d], queries.descriptors[use_q]
    if config.drive_mean_frames:
        if config.measure != "cosine":
            raise VprError("the mean of a drive is taken out of descriptors of unit length: leave `paper` out.")
        searched, asked = centred_traverses(searched, asked, extractor.parts, config.drive_mean_frames)
    ranks = rank_by_similarity(asked, searched, truth.positives, config.measure)
    seconds = database.seconds + queries.seconds
    skipped = {
        "unreadable": database.unreadable + queries.unreadable,
        "too dark": int((~use_d).sum() + (~use_q).sum()),
    }
    return FolderResult(
        name=extractor.name,
        recall=metrics.recall_at(ranks, config.ns, truth.on_map, config.mode),
        queries=int(truth.on_map.sum()) if config.mode == "skip" else len(truth),
        database=len(d_rows),
        rule=truth.rule,
        images_per_second=(len(database.rows) + len(queries.rows)) / seconds if seconds > 0 else float("nan"),
        skipped={reason: count for reason, count in skipped.items() if count},
        query_files=tuple(query_files[row] for row in q_rows),
        ranks=tuple(ranks.tolist()),
    )


def _bright(described: DescribedFiles, min_grey: float | None) -> np.ndarray:
    return np.ones(len(described.rows), bool) if min_grey is None else described.mean_grey > min_grey


def _restrict(truth: Truth, rows: np.ndarray) -> Truth:
    """Truth whose ids are places in `rows` (kept database rows); positives that were left out are dropped."""
    place = {int(r): i for i, r in enumerate(rows)}
    kept = [sorted(place[int(p)] for p in positives if int(p) in place) for positives in truth.positives]
    xy = None if truth.keyframe_xy is None else truth.keyframe_xy[rows]
    positives = tuple(np.array(k, np.int64) for k in kept)
    return replace(truth, positives=positives, keyframe_ids=np.arange(len(rows)), keyframe_xy=xy)
