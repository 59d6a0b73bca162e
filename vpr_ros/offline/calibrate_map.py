"""Fitting a map's probabilities: on a second drive whose places are known, or on the map itself."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from vpr_ros.calibration import LabelledSequence, fit_calibration, self_matches, split_matches
from vpr_ros.calibration.fitting import Fitted, fit
from vpr_ros.calibration.labelling import longest_session, path_of
from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.truth import Truth, frame_tolerance, truth_from_poses
from vpr_ros.offline.drive_features import DriveFeatures
from vpr_ros.offline.evaluate_run import TruthConfig, find_truth, read_poses
from vpr_ros.offline.stages import batch_size_for, batches
from vpr_ros.place_map import Keyframes, PlaceMap
from vpr_ros.place_map.describer import described, input_size_of
from vpr_ros.recognition import Calibration, choose_calibration
from vpr_ros.sensors import Drive, DriveConfig, DriveTopics


def calibrate_from_drive(
    map_path: str | Path,
    bag: str | Path,
    extractor,
    topics: DriveTopics,
    config: TruthConfig,
    progress: Callable[[int, int], None] | None = None,
    reading: DriveConfig | None = None,
) -> Fitted:
    """Fit a map's calibration on a labelled bag and store it in the map.

    Truth is what `config.truth` names, or the true poses of `bag` beside those of the mapped bags; without either of
    the latter the map's own poses are taken for true. A probability is that of being within the place radius, so
    pictures that a map without poses counts are right within it at least, unless a table says otherwise. Where the map
    has local features that can be made here, how they are weighed is fitted as well. `reading`: how the bag is read.
    Raises VprError for a map of another model, missing truth, and fewer queries than a calibration
    needs.
    """
    model = {"fingerprint": extractor.fingerprint, "dim": extractor.dim, "model_name": extractor.name}
    with PlaceMap.open(map_path, writable=True, **model) as place_map:
        keyframes, radius = place_map.keyframes(), place_map.place_radius_m
        stamps, odometry, descriptors = [], [], []
        local = DriveFeatures.against(place_map, keyframes, str(extractor.device))
        with Drive(bag, topics, reading, least=input_size_of(extractor)) as drive:
            pairs = (described(extractor, batch) for batch in batches(drive, batch_size_for(extractor)))
            for observation, descriptor in chain.from_iterable(pairs):
                if isinstance(descriptor, FrameError):
                    continue
                T = observation.T_odom_base
                stamps.append(observation.stamp_ns)
                if local is not None:
                    local.add(observation.whole_image())
                descriptors.append(descriptor)
                odometry.append(np.full((4, 4), np.nan) if T is None else T)
                if progress is not None:
                    progress(len(stamps), len(drive))
        config = replace(config, query_bag=Path(bag), image_topic=topics.image, radius_m=radius)
        if not place_map.has_poses:
            config = _widened(config, int(radius))
        if config.truth is None and not config.map_bags:
            truth = _truth_from_map(stamps, keyframes, config, map_path)
        else:
            sources = {session.id: session.source for session in place_map.sessions()}
            truth = find_truth(np.array(stamps, np.int64), keyframes, sources, config)
        sequence = LabelledSequence(
            keyframes,
            np.array(descriptors),
            np.array(stamps, np.int64),
            np.array(odometry),
            [keyframes.rows_of(positives) for positives in truth.positives],
            statistics=place_map.statistics(),
            parts=place_map.parts,
            known=truth.known,
            comparisons=None if local is None else local.comparisons(),
        )
        fitted = fit([sequence], radius, "labelled drive")
        place_map.set_calibration(fitted.calibration.to_dict())
    return fitted


def _widened(config: TruthConfig, reach: int) -> TruthConfig:
    """With tolerances of at least `reach` pictures, where they are not those of a table's rows."""
    truth, given = config.truth, None if config.truth is None else frame_tolerance(config.truth)
    if given is not None and given < reach:
        truth = f"frames:{reach}"
    return replace(config, truth=truth, tolerance_frames=max(config.tolerance_frames, reach))


def _truth_from_map(stamps: list[int], keyframes: Keyframes, config: TruthConfig, map_path) -> Truth:
    if not keyframes.has_pose.any():
        raise VprError(
            f"the keyframes of map {map_path} have no poses: name the mapped bag with --map-bag, or "
            "say with --truth which pictures show the same place."
        )
    if config.query_bag is None:
        raise VprError("a labelled drive needs the bag with its true poses.")
    poses = read_poses(config.query_bag, config.truth_topic).at_many(stamps, config.max_gap_s)[0]
    if not np.isfinite(poses[:, 0, 3]).any():
        raise VprError(f"no image of bag {config.query_bag} has a true pose: are the stamps of one clock?")
    return truth_from_poses(poses, keyframes.ids, keyframes.T_map_base, config.radius_m)


def calibrate_from_map(map_path: str | Path, extractor, min_gap_s: float = 30.0) -> Calibration:
    """Limit a map's probabilities by what matching its longest drive against itself shows, and store that in the map.

    With poses or odometry, each keyframe is matched against the drive's past; without, every second one against the
    others. Raises VprError for a map of another model, or with too few keyframes.
    """
    model = {"fingerprint": extractor.fingerprint, "dim": extractor.dim, "model_name": extractor.name}
    with PlaceMap.open(map_path, writable=True, **model) as place_map:
        radius = place_map.place_radius_m
        try:
            base = choose_calibration(None, extractor.calibration, radius)
            keyframes = place_map.keyframes()
            if path_of(longest_session(keyframes)) is None:
                sequences, radius = split_matches(keyframes, radius, place_map.parts)
            else:
                sequences = [self_matches(keyframes, radius, min_gap_s, place_map.parts)]
            calibration = fit_calibration(sequences, radius, "self-matches", base=base)
        except FrameError as error:
            raise VprError(f"map {map_path} cannot be matched against itself: {error}") from None
        place_map.set_calibration(calibration.to_dict())
    return calibration
