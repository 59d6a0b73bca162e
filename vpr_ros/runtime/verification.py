"""Whether the geometry agrees with an accepted match: the one way, live and offline."""

from functools import lru_cache
from importlib.util import find_spec
from typing import Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, rotation_angle
from vpr_ros.local_features import LocalFeatures
from vpr_ros.place_map import PlaceMap
from vpr_ros.recognition.topology import Topology
from vpr_ros.recognition.types import Hypothesis
from vpr_ros.runtime.answer import Answer
from vpr_ros.runtime.settings import Verify
from vpr_ros.verification import Neighbour, PreparedCloud, Verified, prepare_cloud, register, verify_features

# Why there is nothing to compare.
NotVerified = Literal[
    "no match", "no query cloud", "no keyframe cloud", "no query features", "no keyframe features", "nothing in common"
]
NEIGHBOURS = 4  # keyframes beside the matched one whose points count alike
NEIGHBOUR_M, NEIGHBOUR_RAD = 8.0, np.pi / 4
ALIKE_M, ALIKE_RAD = 1.0, np.radians(5.0)  # between what two sensors measure of one pose
_CONTRADICTED = Verified(False, "contradicted", "lidar")
_WINDOW = 8  # rows before and after the match among which they are looked for
_KEPT_FEATURES, _KEPT_CLOUDS = 32, 4  # frames in a row mostly match the same keyframes


class Verifier:
    """Verifies the matches of one map by `how`.

    "auto" is the camera first; then, where both sides have clouds, LiDAR from the camera's pose, or by itself where the
    camera measured none. LiDAR's word counts where it agrees, else the camera's; where both measure a pose and not the
    same one, neither does. For the worker's thread.
    """

    def __init__(self, place_map: PlaceMap, how: Verify):
        self._place_map = place_map
        self._camera, self._lidar = how in ("camera", "auto"), how in ("lidar", "auto")
        if how == "auto" and find_spec("small_gicp") is None:
            self._lidar = False
        self._features = lru_cache(_KEPT_FEATURES)(place_map.features)
        self._cloud = lru_cache(_KEPT_CLOUDS)(self._prepared)

    def require(self, no_features: str) -> None:
        """VprError where nothing can be verified: small_gicp is missing, or a finished map has nothing to verify with.

        `no_features` says why no local features are in use; empty where they are.
        """
        place_map, missing = self._place_map, list[str]()
        if self._lidar:
            prepare_cloud(np.zeros((0, 3)))
        if self._camera and no_features:
            missing.append(no_features)
        if self._lidar and not (place_map.writable or place_map.has_clouds):
            missing.append(f"map {place_map.path} keeps no LiDAR clouds; map the drive again with --clouds")
        if len(missing) == self._camera + self._lidar:
            raise VprError(f"there is nothing to verify against: {'; '.join(missing)}; or leave verification out")

    def verify(self, answer: Answer, topology: Topology) -> Verified | NotVerified:
        """What the geometry says of an answer's accepted match, or why there is nothing to compare.

        VprError where the map cannot be read.
        """
        match = answer.match
        if match is None:
            return "no match"
        by_camera = self._by_camera(answer, match, topology) if self._camera else None
        if not self._lidar:
            assert by_camera is not None
            return by_camera
        T_init = by_camera.T_keyframe_query if isinstance(by_camera, Verified) and by_camera.metric else None
        by_lidar = self._by_lidar(answer, match, T_init)
        if by_camera is None or (isinstance(by_lidar, Verified) and by_lidar.accepted):
            return by_lidar if T_init is None or _near(by_lidar, T_init) else _CONTRADICTED
        if isinstance(by_camera, Verified):
            return by_camera
        return by_lidar if isinstance(by_lidar, Verified) else "nothing in common"

    def _by_camera(self, answer: Answer, match: Hypothesis, topology: Topology) -> Verified | NotVerified:
        keyframe = self._features(match.keyframe_id)
        if keyframe is None:
            return "no keyframe features"
        query = None if answer.features is None else answer.features.get()
        if query is None:
            return "no query features"
        return verify_features(query, keyframe, self._neighbours(match.row, topology))

    def _by_lidar(self, answer: Answer, match: Hypothesis, T_init: np.ndarray | None) -> Verified | NotVerified:
        if answer.observation.cloud is None:
            return "no query cloud"
        keyframe = self._cloud(match.keyframe_id)
        if isinstance(keyframe, str):
            return "no keyframe cloud"
        query = prepare_cloud(answer.observation.cloud)
        return register(query, keyframe, T_init, only_init=T_init is not None)

    def _neighbours(self, row: int, topology: Topology) -> list[Neighbour]:
        """The nearest keyframes of the same drive that look the same way, with their features.

        Odometry says how they stand to the matched one, since it has no jumps; the map where there is none.
        """
        rows = np.arange(max(0, row - _WINDOW), min(topology.n, row + _WINDOW + 1))
        rows = rows[(topology.sessions[rows] == topology.sessions[row]) & (rows != row)]
        by_odometry = np.isfinite(topology.T_odom_base[row]).all()
        poses = topology.T_odom_base if by_odometry else topology.T_map_base
        if not len(rows) or not np.isfinite(poses[row]).all():
            return []
        relative = invert(poses[row]) @ poses[rows]
        apart = np.linalg.norm(relative[:, :3, 3], axis=1)
        turned = rotation_angle(np.eye(3), relative[:, :3, :3])
        near = np.flatnonzero((apart <= NEIGHBOUR_M) & (turned <= NEIGHBOUR_RAD))  # none of a pose that is NaN
        found: list[Neighbour] = []
        for n in near[np.argsort(apart[near], kind="stable")][:NEIGHBOURS]:
            features: LocalFeatures | None = self._features(int(topology.ids[rows[n]]))
            if features is not None:
                found.append(Neighbour(features, relative[n]))
        return found

    def _prepared(self, keyframe_id: int) -> PreparedCloud | Literal["no keyframe cloud"] | None:
        """None for a cloud of too few points."""
        cloud = self._place_map.cloud(keyframe_id)
        return "no keyframe cloud" if cloud is None else prepare_cloud(cloud)


def _near(verified: Verified | NotVerified, T: np.ndarray) -> bool:
    """Whether a measured pose is about T."""
    if not isinstance(verified, Verified) or verified.T_keyframe_query is None:
        return False
    found = verified.T_keyframe_query
    apart_m, turned = np.linalg.norm(found[:3, 3] - T[:3, 3]), rotation_angle(found[:3, :3], T[:3, :3])
    return bool(apart_m <= ALIKE_M and turned <= ALIKE_RAD)
