"""/diagnostics of the node `recorder`: input, recording."""

from collections.abc import Callable
from typing import Any

from vpr_ros.nodes.diagnostics.base import ERROR, OK, SENTENCE_AGE_S, WARN, Diagnostics, with_counts
from vpr_ros.runtime.recording import LACKS


class RecorderDiagnostics(Diagnostics):
    """What arrives at the recorder, and what becomes of it."""

    def tasks(self) -> dict[str, Callable[[Any], Any]]:
        """What fills the status of each stage."""
        return super().tasks() | {"recording": self._recording}

    def _recording(self, status):
        node, health, recent = self._node, self._health, self._health.recent("recording")
        if node.recording is None:
            status.summary(ERROR if node.last_error else WARN, node.last_error or "the node is not configured")
            return status
        writer, counts = node.recording.writer, health.counts("recording")
        lacking = {reason: n for reason, n in recent.items() if reason in LACKS}
        if recent["write failed"] or recent["error"]:
            status.summary(ERROR, health.newest("recording"))
        elif lacking and sum(lacking.values()) == sum(recent.values()):
            reasons = ", ".join(f"{n} with {reason}" for reason, n in lacking.items())
            status.summary(WARN, f"nothing recorded of the last {sum(recent.values())} images: {reasons}")
        elif sentences := health.newest("recording", SENTENCE_AGE_S):
            status.summary(WARN, sentences)
        else:
            status.summary(OK, f"{writer.count} frames in drive '{writer.drive}'")
        status.add("training set", str(writer.folder))
        status.add("drive", writer.drive)
        status.add("frames", str(writer.count))
        status.add("poses", node.recording.poses or "not known yet")
        if counts and (timing := health.timing("total")):
            status.add("total p50/p95 (ms)", f"{1e3 * timing.p50_s:.1f} / {1e3 * timing.p95_s:.1f}")
        return with_counts(status, health, "recording")
