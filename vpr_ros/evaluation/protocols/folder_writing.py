"""An evaluation of two folders on disk: figures as JSON, the rank of each query's right answer as CSV."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from vpr_ros import __version__
from vpr_ros.atomic import whole_text
from vpr_ros.evaluation.protocols.folders import FolderConfig, FolderResult
from vpr_ros.sensors.picture_files import in_utf8


def write_folder_results(
    out: str | Path, database: Path, queries: Path, config: FolderConfig, results: Sequence[FolderResult]
) -> list[Path]:
    """Write `eval.json` and `queries.csv` into a folder; returns their paths.

    `queries.csv` has a line per readable query and a column per descriptor: the rank, from 1, of the most similar right
    reference; 0 where the truth has none. Files of the same names are replaced, each as a whole. VprError where the
    folder cannot be written.
    """
    figures, table = Path(out) / "eval.json", Path(out) / "queries.csv"
    facts = {
        "vpr_ros": __version__,
        "database": str(database),
        "queries": str(queries),
        "config": asdict(config),
        "rule": results[0].rule,
        "counted_queries": results[0].queries,
        "references": results[0].database,
        "left_out": results[0].skipped,
        "recall": {result.name: {str(n): share for n, share in result.recall.items()} for result in results},
    }
    with whole_text(figures) as stream:
        json.dump(facts, stream, indent=1)
        stream.write("\n")
    with whole_text(table) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["query", *(result.name for result in results)])
        ranks = [[str(rank) for rank in result.ranks] for result in results]
        names = [in_utf8(file.relative_to(queries).as_posix()) for file in results[0].query_files]
        writer.writerows(zip(names, *ranks, strict=True))
    return [figures, table]
