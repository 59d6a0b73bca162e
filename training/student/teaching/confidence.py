"""How far a teacher is believed, sample by sample: a weight in the distillation's losses.

Where nobody labelled anything, only the teacher's own relations tell whether it knows a place: one that it knows has a
near match among the other drives' frames, against a row of which all are about equally far. A scan of few points, of a
covered or blinded LiDAR, says little.
"""

import numpy as np

from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.student.config.learning import DistillationConfig

LEAST = 0.01  # a sample counts at least so much: the losses divide by sums of weights
BESIDE = 10  # samples of the own drive that are no match, on either side, where the area has no other drive
AT_ONCE = 512  # rows of distances in memory


def confidence_of(embeddings: np.ndarray, samples: SampleSet, config: DistillationConfig) -> np.ndarray | None:
    """Confidence (N,) float32 from LEAST to 1 in a teacher's embeddings (N, D) as the losses compare them.

    None where the configuration asks for none. Rows of NaN, of samples that the teacher does not see, count LEAST.
    """
    if config.confidence == "none" and not config.full_cloud:
        return None
    found = np.ones(len(embeddings))
    if config.confidence == "match":
        found *= sharpness(embeddings, samples)
    if config.full_cloud:
        found *= np.minimum(1.0, _points(embeddings, samples) / config.full_cloud)
    return np.maximum(np.nan_to_num(found), LEAST).astype(np.float32)


def sharpness(embeddings: np.ndarray, samples: SampleSet) -> np.ndarray:
    """How much nearer each sample's best match is than its median one, (N,): 1 - nearest / median distance.

    Matches are the samples of the area's other drives, or of the own drive where there is no other. 0 for a flat row,
    and without any match.
    """
    seen = np.isfinite(embeddings).all(axis=1)
    found = np.zeros(len(embeddings))
    for area in np.unique(samples.areas):
        rows = np.flatnonzero((samples.areas == area) & seen)
        drives, x = samples.drives[rows], np.asarray(embeddings[rows], np.float64)
        alone = len(set(drives.tolist())) < 2
        square = (x * x).sum(axis=1)
        for start in range(0, len(rows), AT_ONCE):
            part = np.arange(start, min(start + AT_ONCE, len(rows)))
            distance = np.sqrt(np.maximum(square[part, None] + square[None] - 2 * x[part] @ x.T, 0.0))
            if alone:
                own = np.abs(part[:, None] - np.arange(len(rows))[None]) <= BESIDE
            else:
                own = drives[part, None] == drives[None]
            for k, row in enumerate(rows[part]):
                others = distance[k, ~own[k]]
                median = float(np.median(others)) if len(others) else 0.0
                found[row] = 1 - others.min() / median if median > 0 else 0.0
    return found


def _points(embeddings: np.ndarray, samples: SampleSet) -> np.ndarray:
    """Points (N,) of the samples' clouds, 0 where there is none or the teacher did not see it."""
    counts = np.zeros(len(embeddings))
    for row in np.flatnonzero(np.isfinite(embeddings).all(axis=1)).tolist():
        cloud = samples.read(row, ("cloud",)).cloud
        counts[row] = 0 if cloud is None else len(cloud)
    return counts
