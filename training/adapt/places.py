"""How large a place is: every length of an adaptation, from the radius within which an answer is right."""

from dataclasses import dataclass

from vpr_ros.errors import VprError


@dataclass(frozen=True)
class PlaceSize:
    """Of one place. VprError for a radius that is none."""

    radius_m: float = 10.0
    heading_rad: float = 0.8

    def __post_init__(self) -> None:
        if not self.radius_m > 0:
            raise VprError(f"a place has a radius above 0 m, not {self.radius_m:g}")

    @property
    def spacing_m(self) -> float:
        """Between two frames of a drive."""
        return 0.1 * self.radius_m

    @property
    def positive_m(self) -> float:
        """Frames that are drawn as one place lie within it of one of them."""
        return 0.4 * self.radius_m

    @property
    def negative_m(self) -> float:
        """From here on two frames are two places."""
        return 2.0 * self.radius_m

    @property
    def border_m(self) -> float:
        """Around a stretch that is kept out: a camera sees ahead."""
        return 3.0 * self.radius_m

    @property
    def piece_m(self) -> float:
        """Length of street whose queries count as one observation."""
        return 5.0 * self.radius_m
