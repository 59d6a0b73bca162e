"""Single-frame retrieval among the samples of a set, by condition."""

import numpy as np

from vpr_ros.training.data.sample import SampleSet


def recall_by_condition(
    descriptors: np.ndarray,
    samples: SampleSet,
    *,
    radius_m: float = 10.0,
    heading_rad: float = 0.8,
    reference: str | None = None,
) -> dict[str, float]:
    """Recall@1 within a city, by the query drive's condition: reference drive against each other drive.

    The reference is each city's first drive, or its first drive of condition `reference`. Queries without a true match
    are not counted; where headings are not known, none are compared. Reference frames of which it is not known whether
    they show the query's place, between drives without a common frame, are left out of the query's search. Keys: the
    conditions and "all", their plain mean over queries.
    """
    hits: dict[str, list[bool]] = {}
    for city in np.unique(samples.areas):
        of_city = np.flatnonzero(samples.areas == city)
        pool = of_city if reference is None else of_city[samples.conditions[of_city] == reference]
        if not len(pool):
            continue
        base = of_city[samples.drives[of_city] == sorted(set(samples.drives[pool]))[0]]
        for drive in sorted(set(samples.drives[of_city].tolist()) - {str(samples.drives[base[0]])}):
            query = of_city[samples.drives[of_city] == drive]
            gaps = samples.nearness.gaps(query[:, None], base[None])
            similarity = np.where(gaps.unknown(radius_m), -np.inf, descriptors[query] @ descriptors[base].T)
            best = similarity.argmax(axis=1)
            true = gaps.near(radius_m, heading_rad)
            right = true[np.arange(len(query)), best]
            hits.setdefault(str(samples.conditions[query[0]]), []).extend(right[true.any(1)])
    result = {name: float(np.mean(values)) for name, values in sorted(hits.items()) if values}
    everything = [hit for values in hits.values() for hit in values]
    return result | ({"all": float(np.mean(everything))} if everything else {})
