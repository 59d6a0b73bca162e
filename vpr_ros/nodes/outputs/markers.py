"""Where the answer lies in the map, for RViz and Foxglove."""

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from vpr_ros.colours import DARK
from vpr_ros.nodes.outputs.messages import header_of, pose_of
from vpr_ros.recognition.types import Recognition
from vpr_ros.runtime.match_picture import STATUS_COLOURS, rgb

LIFETIME_S = 3  # seconds after which the last answer vanishes when no other follows
WORTH_A_NUMBER = 0.05  # probability from which a place that is not the best one is labelled


def markers_of(
    recognition: Recognition, *, T_map_base: np.ndarray | None, frame_id: str, place_radius_m: float
) -> MarkerArray:
    """A sphere for each place, larger and denser with its probability, the best one labelled and in the colour of the
    status; and for an accepted match a line from the robot at `T_map_base` (4, 4), where that is known."""
    array = MarkerArray()
    clear = Marker(header=header_of(recognition.stamp_ns, frame_id), action=Marker.DELETEALL)
    array.markers.append(clear)
    colour = STATUS_COLOURS[recognition.status]
    size_m = float(np.clip(place_radius_m, 1.0, 50.0))
    for rank, place in enumerate(recognition.hypotheses):
        if place.T_map_base is None:
            continue
        p = float(np.clip(place.probability, 0.0, 1.0))
        tint = colour if rank == 0 else DARK.muted
        sphere = _marker(recognition, frame_id, "places", rank, Marker.SPHERE, tint, 0.15 + 0.75 * p)
        sphere.pose = pose_of(place.T_map_base)
        sphere.scale.x = sphere.scale.y = sphere.scale.z = size_m * (0.08 + 0.22 * p)
        array.markers.append(sphere)
        if rank == 0 or p >= WORTH_A_NUMBER:
            text = _marker(recognition, frame_id, "words", rank, Marker.TEXT_VIEW_FACING, tint, 1.0)
            text.pose.position = _point(place.T_map_base, above_m=0.3 * size_m)
            text.scale.z = size_m * (0.16 if rank == 0 else 0.1)
            text.text = f"{recognition.status} {p:.2f}" if rank == 0 else f"{p:.2f}"
            array.markers.append(text)
    match = recognition.match
    if match is not None and match.T_map_base is not None and T_map_base is not None:
        line = _marker(recognition, frame_id, "match", 0, Marker.LINE_LIST, colour, 1.0)
        line.scale.x = 0.03 * size_m
        line.points = [_point(T_map_base), _point(match.T_map_base)]
        array.markers.append(line)
    return array


def _marker(
    recognition: Recognition, frame_id: str, namespace: str, number: int, kind: int, colour: str, alpha: float
) -> Marker:
    marker = Marker(header=header_of(recognition.stamp_ns, frame_id), ns=namespace, id=number, type=kind)
    marker.action = Marker.ADD
    marker.pose.orientation.w = 1.0
    marker.lifetime = Duration(sec=LIFETIME_S)
    r, g, b = (value / 255 for value in rgb(colour))
    marker.color = ColorRGBA(r=r, g=g, b=b, a=alpha)
    return marker


def _point(T: np.ndarray, above_m: float = 0.0) -> Point:
    x, y, z = T[:3, 3].tolist()
    return Point(x=x, y=y, z=z + above_m)
