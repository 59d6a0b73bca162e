"""Best and worst matches as pictures side by side, each with a sentence."""

from collections.abc import Mapping

import cv2
import numpy as np

from vpr_ros.evaluation import summary
from vpr_ros.evaluation.report import page
from vpr_ros.evaluation.report.examples import Example, choose_examples
from vpr_ros.evaluation.report.inputs import ImageLike, ReportInput
from vpr_ros.evaluation.summary import Evaluation

TONE = {summary.CORRECT: "good", "accepted": "good", summary.WRONG: "bad", summary.FALSE_ACCEPT: "bad"}


def galleries(report: ReportInput, e: Evaluation | None) -> list[str]:
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
        page.section(title, intro, f'<div class="pairs">{"".join(_pair(report, x, images) for x in part)}</div>')
        for (title, intro), part in zip(titles, (chosen.best, chosen.worst), strict=True)
        if part
    ]


def _pair(report: ReportInput, example: Example, images: Mapping[int, ImageLike]) -> str:
    record = report.records[example.row]
    query = page.as_picture_bytes(images.get(record.stamp_ns))
    keyframe = report.keyframe_image or (lambda _: None)
    seconds = (record.stamp_ns - report.records[0].stamp_ns) / 1e9
    aspect = _aspect(query)
    shots = [page.shot(query, aspect, "Query", f"frame {example.row}, at {seconds:.1f} s")]
    if example.chosen is not None and record.best is not None:
        caption = f"probability {record.best.probability:.3f}, similarity {record.best.similarity:.3f}"
        shots.append(
            page.shot(
                page.as_picture_bytes(keyframe(example.chosen)), aspect, f"Answer: keyframe {example.chosen}", caption
            )
        )
    if example.right is not None:
        shots.append(
            page.shot(
                page.as_picture_bytes(keyframe(example.right)),
                aspect,
                f"Right: keyframe {example.right}",
                "the true place in the map",
            )
        )
    tone = TONE.get(example.kind, "warn")
    return page.comparison(shots, tone, example.tag, example.verdict)


def _aspect(data: bytes | None) -> float:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return 4 / 3 if image is None else min(max(image.shape[1] / image.shape[0], 0.5), 4.0)
