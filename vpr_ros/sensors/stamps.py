"""Which image stamps a stream may go on with: one rule for bags and for live topics."""

from vpr_ros.sensors.poses.collectors import JUMP_NS


class StampOrder:
    """Follows the stamps of one stream of images.

    Zero stamps, repeats and small steps back are refused. A stamp more than one second back is a restarted clock or
    a looped bag: frames go on from there. `refusal` judges, `take` remembers; between the two an image may turn out
    to be unreadable, and then it counts for nothing.
    """

    def __init__(self):
        self.last_ns: int | None = None

    def refusal(self, stamp_ns: int) -> tuple[str, str] | None:
        """(reason, sentence) of a stamp that cannot be used: the reason is fit for counting. None for a good one."""
        last = self.last_ns
        if stamp_ns == 0:
            return "image stamp zero", (
                "image has a zero stamp; the camera driver sets none"
                if last is None
                else "image has a zero stamp amid stamped ones; the driver lost its clock"
            )
        if last is None or stamp_ns > last or last - stamp_ns > JUMP_NS:
            return None
        if stamp_ns == last:
            return "image stamp repeated", f"image repeats the stamp {stamp_ns * 1e-9:.6f} s"
        return (
            "image stamp went backwards",
            f"image stamp went back from {last * 1e-9:.6f} s to {stamp_ns * 1e-9:.6f} s",
        )

    def take(self, stamp_ns: int) -> bool:
        """Go on from a stamp that was not refused; True when the clock jumped back to it."""
        jumped = self.last_ns is not None and stamp_ns < self.last_ns
        self.last_ns = stamp_ns
        return jumped

    def reset(self) -> None:
        """Begin a new stream."""
        self.last_ns = None
