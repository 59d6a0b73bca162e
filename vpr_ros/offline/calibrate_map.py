"""Fitting a map's probabilities: on a second drive with true poses, or on the map's own past."""

from itertools import chain
from pathlib import Path

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.truth import poses_at, truth_from_poses
from vpr_ros.offline.batches import batch_size_for, batches
from vpr_ros.offline.evaluate_run import read_poses, true_keyframe_poses
from vpr_ros.place_map import PlaceMap
from vpr_ros.recognition import LabelledSequence, choose_calibration, fit_calibration, self_matches
from vpr_ros.recognition.mapper import described
from vpr_ros.sensors import Drive, DriveTopics

MAX_GAP_S = 1.0


def calibrate_from_drive(
    map_path: str | Path,
    bag: str | Path,
    extractor,
    topics: DriveTopics,
    truth_topic: str | None = None,
    map_bags: tuple[Path, ...] = (),
    progress=None,
) -> str:
    """Fit a map's calibration on a bag with true poses and store it in the map; returns a phrase about it.

    The keyframes' true poses come from `map_bags`, else the map's own poses are taken for true. Raises VprError for a
    map of another model, missing poses, and fewer queries than a calibration needs.
    """
    model = {"fingerprint": extractor.fingerprint, "dim": extractor.dim, "model_name": extractor.name}
    trajectory = read_poses(bag, truth_topic)
    with PlaceMap.open(map_path, writable=True, **model) as place_map:
        keyframes = place_map.keyframes()
        poses = keyframes.T_map_base
        if map_bags:
            sources = {session.id: session.source for session in place_map.sessions()}
            poses = true_keyframe_poses(keyframes, sources, map_bags, truth_topic, MAX_GAP_S)
        if not np.isfinite(poses[:, 0, 3]).any():
            raise VprError(f"the keyframes of map {map_path} have no poses: name the mapped bag with --map-bag.")
        stamps, odometry, descriptors = [], [], []
        with Drive(bag, topics) as drive:
            labelled = (o for o in drive if trajectory.at(o.stamp_ns, MAX_GAP_S) is not None)
            pairs = (described(extractor, batch) for batch in batches(labelled, batch_size_for(extractor)))
            for observation, descriptor in chain.from_iterable(pairs):
                if isinstance(descriptor, FrameError):
                    continue
                stamps.append(observation.stamp_ns)
                descriptors.append(descriptor)
                T = observation.T_odom_base
                odometry.append(np.full((4, 4), np.nan) if T is None else T)
                if progress is not None:
                    progress(len(stamps))
        if not stamps:
            raise VprError(f"no image of bag {bag} has a true pose: are the stamps of one clock?")
        radius_m = place_map.place_radius_m
        truth = truth_from_poses(poses_at(trajectory, stamps, MAX_GAP_S), keyframes.ids, poses, radius_m)
        sequence = LabelledSequence(
            keyframes, np.array(descriptors), np.array(stamps, np.int64), np.array(odometry),
            [keyframes.rows_of(ids) for ids in truth.positives],
        )  # fmt: skip
        calibration = fit_calibration([sequence], radius_m, "labelled drive")
        place_map.set_calibration(calibration.to_dict())
    return _phrase(calibration)


def calibrate_from_map(map_path: str | Path, extractor, min_gap_s: float = 30.0) -> str:
    """Limit a map's probabilities by what matching its longest drive against its own past shows; returns a phrase.

    Raises VprError for a map of another model, without poses, or with too few keyframes.
    """
    model = {"fingerprint": extractor.fingerprint, "dim": extractor.dim, "model_name": extractor.name}
    with PlaceMap.open(map_path, writable=True, **model) as place_map:
        radius = place_map.place_radius_m
        try:
            sequence = self_matches(place_map.keyframes(), radius, min_gap_s)
            base = choose_calibration(None, extractor.calibration, radius)
            calibration = fit_calibration([sequence], radius, "self-matches", base=base)
        except FrameError as error:
            raise VprError(f"map {map_path} cannot be matched against itself: {error}") from None
        place_map.set_calibration(calibration.to_dict())
    return _phrase(calibration)


def _phrase(calibration) -> str:
    return (
        f"calibration from {calibration.source} ({calibration.n_queries} queries, {calibration.n_off_map} of them off "
        f"the map; {calibration.note})"
    )
