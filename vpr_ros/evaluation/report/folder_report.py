"""The report on two image folders: methods side by side, and what the first of them got right and wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpr_ros import __version__
from vpr_ros.atomic import whole_text
from vpr_ros.errors import VprError
from vpr_ros.evaluation import summary
from vpr_ros.evaluation.protocols.folders import FolderResult, read_image
from vpr_ros.evaluation.report import curves, page, plots
from vpr_ros.evaluation.report.page import percent


def write_folder_report(
    path: str | Path, results: Sequence[FolderResult], title: str = "Image retrieval report", examples: int = 6
) -> None:
    """One self-contained HTML file; the pictures and examples are those of `results[0]`. Raises VprError."""
    if not results:
        raise VprError("a folder report needs the result of at least one method")
    first = results[0]
    ns = list(first.recall)
    share = percent(first.recall[ns[0]])
    verdict = f"{first.name} found the right place at once for {share} of {first.queries} queries."
    body = [
        page.cards([_card(r) for r in results], columns=min(4, max(2, len(results)))),
        page.section(
            "Recall@N",
            "How often a right image is among the N most similar ones.",
            page.table(
                page.Table(
                    "",
                    ["method", *(f"@{n}" for n in ns), "images/s"],
                    [[r.name, *(r.recall[n] for n in ns), f"{r.images_per_second:.1f}"] for r in results],
                )
            ),
        ),
        page.section("Pictures of the run", first.rule, page.figures(_figures(results))),
        *_galleries(first, examples),
    ]
    folders = f"{first.query_files[0].parent} → {first.database_files[0].parent}"
    with whole_text(path) as stream:
        stream.write(page.page(title, folders, verdict, body, f"Written by vpr_ros {__version__}."))


def _card(result: FolderResult) -> str:
    skipped = "".join(f"; {count} {reason}" for reason, count in result.skipped.items())
    counts = f"{result.queries} queries, {result.database} database images{skipped}"
    meaning = "How often the most similar image of the database shows the right place."
    return page.card(f"Recall@1, {result.name}", percent(result.recall.get(1, float("nan"))), counts, meaning)


def _outcomes(result: FolderResult) -> np.ndarray:
    names = np.where(result.ranks == 1, summary.CORRECT, summary.WRONG).astype(object)
    names[~result.truth.on_map] = summary.NO_TRUTH
    return names


def _figures(results: Sequence[FolderResult]) -> list[str]:
    first = results[0]
    band = [(q, int(p)) for q, ps in enumerate(first.truth.positives) for p in ps]
    scatter = plots.index_plot(
        first.top[:, 0].astype(float),
        _outcomes(first),
        np.array(band, float).reshape(-1, 2),
        first.database,
        labels=plots.RETRIEVAL_LABELS,
    )
    recall = curves.recall_plot({r.name: r.recall for r in results})
    return [
        page.figure(
            scatter,
            f"Query against database, {first.name}",
            "Each mark is a query and its most similar database image, by position in the sorted folders. Grey "
            "is where the right ones lie.",
            wide=True,
        ),
        page.figure(recall, "Recall@N", "Higher is better; the gap between methods is what training has brought."),
    ]


def _galleries(result: FolderResult, count: int) -> list[str]:
    answered = np.flatnonzero(result.truth.on_map)
    order = answered[np.argsort(result.similarity[answered, 0], kind="stable")]
    right = [int(q) for q in order if result.ranks[q] == 1][:count]
    wrong = [int(q) for q in order[::-1] if result.ranks[q] != 1][:count]
    parts = (
        ("Hardest hits", "Right although the pictures look least alike.", right),
        ("Surest mistakes", "Wrong, the most similar first; the third picture would have been right.", wrong),
    )
    return [
        page.section(title, intro, f'<div class="pairs">{"".join(_pair(result, q) for q in rows)}</div>')
        for title, intro, rows in parts
        if rows
    ]


def _pair(result: FolderResult, query: int) -> str:
    picture = read_image(result.query_files[query])
    aspect = 4 / 3 if picture is None else picture.shape[1] / picture.shape[0]
    shots = [page.shot(page.as_picture_bytes(picture), aspect, "Query", result.query_files[query].name)]
    shown = [("Answer", int(result.top[query, 0]))]
    right = result.ranks[query] == 1
    if not right:
        shown.append(("Right", int(result.truth.positives[query][len(result.truth.positives[query]) // 2])))
    for word, row in shown:
        file = result.database_files[row]
        shots.append(page.shot(page.as_picture_bytes(read_image(file)), aspect, word, file.name))
    value = float(result.similarity[query, 0])
    similarity = f"similarity {value:.3f}" if result.measure == "cosine" else f"distance {-value:.3f}"
    verdict = f"{similarity}." if right else f"{similarity}; the right image was at rank {result.ranks[query]}."
    return page.comparison(shots, "good" if right else "bad", "Right:" if right else "Wrong:", verdict)
