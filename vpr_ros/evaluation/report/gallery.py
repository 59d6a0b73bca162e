"""Best and worst matches as pictures side by side, each with a sentence."""

from collections.abc import Mapping

import cv2
import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import FrameError
from vpr_ros.evaluation import summary
from vpr_ros.evaluation.report.examples import Example, choose_examples
from vpr_ros.evaluation.report.inputs import ImageLike, ReportInput
from vpr_ros.evaluation.report.page import Comparison, Gallery, Section, Shot, Tone
from vpr_ros.evaluation.summary import Evaluation, Outcome
from vpr_ros.recognition.types import Status

TONES: dict[Outcome | Status, Tone] = {
    summary.CORRECT: "good",
    "accepted": "good",
    summary.WRONG: "bad",
    summary.FALSE_ACCEPT: "bad",
}


def galleries(report: ReportInput, e: Evaluation | None) -> list[Section]:
    """Sections with the best and the worst matches; none where the report has no pictures."""
    if not report.examples or (report.query_images is None and report.keyframe_image is None):
        return []
    chosen = choose_examples(report.records, report.truth, e, report.examples)
    stamps = sorted({report.records[x.row].stamp_ns for x in chosen.best + chosen.worst})
    images = report.query_images(stamps) if report.query_images and stamps else {}
    titles = (
        (
            ("Best matches", "Right answers it was sure of; among equally sure ones those whose pictures differ most."),
            (
                "Worst matches",
                "Wrong answers, the most confident first, then on-map frames without an answer. The third "
                "picture is the place that would have been right.",
            ),
        )
        if e is not None
        else (
            ("Surest matches", "Accepted with the highest probability; among equals those whose pictures differ most."),
            ("Most doubtful matches", "Accepted with the least probability, or rejected: look at these first."),
        )
    )
    return [
        Section(title, intro, [Gallery([_comparison(report, x, images) for x in part])])
        for (title, intro), part in zip(titles, (chosen.best, chosen.worst), strict=True)
        if part
    ]


def _comparison(report: ReportInput, example: Example, images: Mapping[int, ImageLike]) -> Comparison:
    record = report.records[example.row]
    query = as_picture_bytes(images.get(record.stamp_ns))
    aspect = _aspect(query)
    seconds = (record.stamp_ns - report.records[0].stamp_ns) / 1e9
    shots = [Shot(query, aspect, "Query", f"frame {example.row}, at {seconds:.1f} s")]

    def add(keyframe_id: int, word: str, caption: str) -> None:
        image = None if report.keyframe_image is None else report.keyframe_image(keyframe_id)
        shots.append(Shot(as_picture_bytes(image), aspect, f"{word}: keyframe {keyframe_id}", caption))

    if example.chosen is not None and record.best is not None:
        caption = f"probability {record.best.probability:.3f}, similarity {record.best.similarity:.3f}"
        add(example.chosen, "Answer", caption)
    if example.right is not None:
        add(example.right, "Right", "the true place in the map")
    return Comparison(shots, TONES.get(example.kind, "warn"), example.tag, example.verdict)


def as_picture_bytes(image: ImageLike, max_side: int = 360) -> bytes | None:
    """JPEG of an (H, W, 3) uint8 RGB array, or JPEG/PNG bytes that can be decoded; None for anything unusable."""
    if image is None:
        return None
    if isinstance(image, (bytes, bytearray, memoryview)):
        data = bytes(image)
        if not data.startswith((b"\xff\xd8", b"\x89PNG")):
            return None
        return None if pictures.decode(data) is None else data
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        return None
    scale = max_side / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    try:
        return pictures.encode(image, quality=86)
    except FrameError:
        return None


def _aspect(data: bytes | None) -> float:
    image = pictures.decode(data)
    return 4 / 3 if image is None else min(max(image.shape[1] / image.shape[0], 0.5), 4.0)
