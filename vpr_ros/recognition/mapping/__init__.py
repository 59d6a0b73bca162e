"""What a drive adds to a map that knows its places."""

from vpr_ros.recognition.mapping.known_places import KnownPlaces

__all__ = ["KnownPlaces"]
