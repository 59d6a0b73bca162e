"""Whether the LiDAR agrees with an accepted match: the one way, live and offline."""

from typing import Literal

from vpr_ros.observation import Observation
from vpr_ros.place_map import PlaceMap
from vpr_ros.recognition import Recognition
from vpr_ros.verification import Verified, verify_clouds

NotVerified = Literal["no match", "no query cloud", "no keyframe cloud"]  # why there is nothing to register


def verify_match(
    place_map: PlaceMap, observation: Observation, recognition: Recognition | None
) -> Verified | NotVerified:
    """Registers the query's cloud with that of the accepted keyframe, or says why there is nothing to register.

    Raises VprError where small_gicp is not installed.
    """
    match = None if recognition is None else recognition.match
    if match is None:
        return "no match"
    if observation.cloud is None:
        return "no query cloud"
    cloud = place_map.cloud(match.keyframe_id)
    return "no keyframe cloud" if cloud is None else verify_clouds(observation.cloud, cloud)
