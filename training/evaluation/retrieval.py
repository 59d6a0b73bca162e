"""Single-frame retrieval on training-set frames: which conditions recognise which."""

import numpy as np
import torch

from vpr_ros.geometry import turn_between
from vpr_ros.student import D2VPR, normalise, resize
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training_set.reader import FrameTable, read_image


def describe_frames(model: D2VPR, table: FrameTable, batch: int = 64) -> tuple[np.ndarray, FrameTable]:
    """Descriptors (N, 14·D) float32 of all frames at the model's own input size, unprojected, and the table."""
    device = next(model.parameters()).device
    training, rows = model.training, []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(table), batch):
            images = np.stack(
                [resize(read_image(path), model.config.image_size) for path in table.images[start : start + batch]]
            )
            rows.append(model(normalise(torch.from_numpy(images).to(device))).float().cpu().numpy())
    model.train(training)
    return np.concatenate(rows), table


def recall_by_condition(
    descriptors: np.ndarray,
    table: FrameTable | SampleSet,
    *,
    radius_m: float = 10.0,
    heading_rad: float = 0.8,
    reference: str | None = None,
) -> dict[str, float]:
    """Recall@1 within a city, by the query drive's condition: reference drive against each other drive.

    The reference is each city's first drive, or its first drive of condition `reference`. Queries without a true
    match count for nothing; where headings are not known, none are compared. Keys: the conditions and "all", their
    plain mean over queries.
    """
    hits: dict[str, list[bool]] = {}
    for city in np.unique(table.areas):
        of_city = np.flatnonzero(table.areas == city)
        pool = of_city if reference is None else of_city[table.conditions[of_city] == reference]
        if not len(pool):
            continue
        base = of_city[table.drives[of_city] == sorted(set(table.drives[pool]))[0]]
        for drive in sorted(set(table.drives[of_city].tolist()) - {str(table.drives[base[0]])}):
            query = of_city[table.drives[of_city] == drive]
            best = base[np.argmax(descriptors[query] @ descriptors[base].T, axis=1)]
            true = _same_place(table, query[:, None], base[None], radius_m, heading_rad)
            right = _same_place(table, query, best, radius_m, heading_rad)
            hits.setdefault(str(table.conditions[query[0]]), []).extend(right[true.any(1)])
    result = {name: float(np.mean(values)) for name, values in sorted(hits.items()) if values}
    everything = [hit for values in hits.values() for hit in values]
    return result | ({"all": float(np.mean(everything))} if everything else {})


def _same_place(
    table: FrameTable | SampleSet, a: np.ndarray, b: np.ndarray, radius_m: float, heading_rad: float
) -> np.ndarray:
    distance = np.linalg.norm(table.positions_m[a] - table.positions_m[b], axis=-1)
    if table.headings_rad is None:
        return distance <= radius_m
    turn = turn_between(table.headings_rad[a], table.headings_rad[b])
    return (distance <= radius_m) & (turn <= heading_rad)
