"""`vpr_ros eval folders`: single-image retrieval from one image folder to another, without a map."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import Progress, say, table
from vpr_ros.errors import VprError


def evaluate_image_folders(
    database: Annotated[Path, typer.Option(help="Folder of reference images.", show_default=False)],
    queries: Annotated[Path, typer.Option(help="Folder of query images.", show_default=False)],
    truth: Annotated[
        str | None,
        typer.Option(
            help="Which references are right: names (the default); frames:K, two walks in step; utm:RADIUS_M; or a CSV "
            "or an .npy that says so."
        ),
    ] = None,
    tolerance: Annotated[int, typer.Option(min=0, help="Of a CSV without one and of an .npy: in pictures.")] = 0,
    min_grey: Annotated[float | None, typer.Option(help="Leave out images at most this bright (0-255).")] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of --truth, what a public set counts as right: pitts30k, pitts250k, msls-val, "
            "msls-val-40deg, nordland, nordland-1, sped or amstertime. And `paper` compares as the papers do, by "
            "Euclidean distance between PCA outputs that are not scaled to unit length. May be given twice.",
        ),
    ] = None,
    pca_from: Annotated[
        Path | None, typer.Option(help="Fit a PCA on this folder of training images, never on tested ones.")
    ] = None,
    pca_dim: Annotated[
        int, typer.Option(min=1, help="Numbers that the PCA keeps; it needs four images for each.")
    ] = 512,
    drive_mean_frames: Annotated[
        float,
        typer.Option(
            min=0,
            help="Compare without the mean of each folder; that of the queries runs in the order of their names and "
            "remembers this many. 0: as they are.",
        ),
    ] = 0.0,
    baselines: Annotated[bool, typer.Option(help="Also measure pixels, HOG and an untrained copy.")] = True,
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    device: options.Device = options.DEVICE,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for eval.json and queries.csv (each query's rank).", show_default=False
        ),
    ] = None,
):
    """Recall@N when every query image is searched among the reference images.

    \b
    Examples:
      vpr_ros eval folders --database summer --queries winter --truth names
    From a table, or from the array of a training repository:
      vpr_ros eval folders --database ref --queries query --truth Nordland_gt.npy
    As in the papers, a PCA fitted on training images:
      vpr_ros eval folders --database test/database --queries test/queries
        --protocol pitts30k --protocol paper --pca-from train/database --pca-dim 4096
    """
    from vpr_ros.evaluation.protocols.folder_writing import write_folder_results
    from vpr_ros.evaluation.protocols.folders import (
        FolderConfig,
        HogBaseline,
        PixelBaseline,
        evaluate_folders,
        pictures_of_folder,
        truth_of_folders,
    )
    from vpr_ros.evaluation.protocols.image_protocol import ImageProtocol, fit_on_folder
    from vpr_ros.evaluation.protocols.image_sets import size_remark
    from vpr_ros.evaluation.protocols.reduction import MOST_SAMPLES

    chosen = ImageProtocol.named(protocol or [])
    if chosen.set_name and truth is not None:
        raise VprError(f"--truth and --protocol {chosen.set_name} are two rules: give one of them.")
    config = chosen.config(
        FolderConfig(
            truth=truth or "names", tolerance=tolerance, min_grey=min_grey, drive_mean_frames=drive_mean_frames
        )
    )
    if output is not None and output.exists() and not output.is_dir():
        raise VprError(f"the output '{output}' is a file: name a folder.")
    asked, searched = pictures_of_folder(queries), pictures_of_folder(database)
    truth_of_folders(config, asked, searched)  # what cannot be judged is refused before the network is loaded
    from vpr_ros.offline.baselines import untrained_copy
    from vpr_ros.runtime.opening import load_network

    sizes = len(asked), len(searched)
    students = [load_network(checkpoint, device)]
    students += [untrained_copy(students[0])] if baselines else []
    compared = []
    for student in students:
        reduction = None
        if pca_from is not None:
            with _counting(f"PCA of {student.name}", min(len(pictures_of_folder(pca_from)), MOST_SAMPLES)) as advance:
                tested = (database, queries)
                reduction = fit_on_folder(student, pca_from, pca_dim, evaluated=tested, progress=advance)
        compared.append((chosen.descriptors(student, reduction), chosen.statement(student, reduction)))
    results = []
    for extractor in [*(c for c, _ in compared), *([PixelBaseline(), HogBaseline()] if baselines else [])]:
        with _counting(extractor.name, sum(sizes)) as advance:
            results.append(evaluate_folders(extractor, database, queries, config, advance))
    ns = sorted(results[0].recall)
    table(
        f"{queries} against {database}",
        ["descriptor", *(f"recall@{n}" for n in ns), "images/s"],
        [(r.name, *(r.recall[n] for n in ns), f"{r.images_per_second:.1f}") for r in results],
    )
    say(f"{results[0].queries} queries, {results[0].database} references. {results[0].rule}")
    say(compared[0][1])
    if chosen.set_name and (remark := size_remark(chosen.set_name, *sizes)):
        say(remark)
    skipped = {reason: count for reason, count in results[0].skipped.items() if count}
    if skipped:
        say("left out: " + json.dumps(skipped))
    if output is not None:
        written = write_folder_results(output, database, queries, config, results)
        say("written: " + ", ".join(str(path) for path in written))


@contextmanager
def _counting(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar as a function that takes how many more images are done."""
    with Progress(name, total) as progress:
        done = 0

        def advance(more: int):
            nonlocal done
            done += more
            progress(done)

        yield advance
