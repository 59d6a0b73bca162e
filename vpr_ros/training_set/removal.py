"""Drives taken out of a recorded training set, such as one whose recording did not end."""

import csv
import io
import shutil
from collections.abc import Collection
from pathlib import Path

from vpr_ros.atomic import write_whole
from vpr_ros.errors import VprError
from vpr_ros.training_set.format import COLUMNS, TABLE
from vpr_ros.training_set.meta import RecordedMeta
from vpr_ros.training_set.table import RowTable


def keep_drives(folder: str | Path, names: Collection[str]) -> None:
    """Remove every drive but these of a recorded set, with its pictures and clouds; another one keeps what it has.

    The rows go first: a set that is read while this is interrupted lacks frames, and has none without its picture.
    VprError for a folder that another program records into, or that cannot be written.
    """
    folder = Path(folder)

    def explain(error: OSError) -> VprError:
        return VprError(f"{folder} cannot be written ({error.strerror}); check space and rights")

    RowTable(folder).close()  # drops a torn last row
    with (folder / TABLE).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([row[column] for column in COLUMNS] for row in rows if row["drive"] in names)
    write_whole(folder / TABLE, text.getvalue(), explain=explain)
    kept = {Path(row[kind]).parent for row in rows if row["drive"] in names for kind in ("image", "cloud")}
    for kind in ("images", "clouds"):
        for one in (folder / kind).glob("*"):
            if one.relative_to(folder) not in kept:
                shutil.rmtree(one)
    meta = RecordedMeta(folder, explain)
    for entry in [one for one in meta.drives if one["name"] not in names]:
        meta.remove(entry)
