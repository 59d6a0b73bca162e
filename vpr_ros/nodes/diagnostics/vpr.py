"""/diagnostics of the node `vpr`: input, inference, index, decision, map, tf."""

from collections.abc import Callable
from typing import Any

from vpr_ros.nodes.diagnostics.base import ERROR, OK, SENTENCE_AGE_S, WARN, Diagnostics, with_counts
from vpr_ros.runtime.health import Health, Stage
from vpr_ros.runtime.opening import network_phrase

DROPPED_SHARE = 0.2  # of the images since the last update: above it the machine is reported as too slow
WIDER = 1.2  # ratio of fields of view above which two cameras see places differently
_STAGES: tuple[Stage, ...] = ("inference", "search", "verification", "total")


class VprDiagnostics(Diagnostics):
    """The stages that an image passes in the node `vpr`."""

    def __init__(self, node: Any, health: Health):
        self._received = self._dropped = 0
        super().__init__(node, health)

    def tasks(self) -> dict[str, Callable[[Any], Any]]:
        """What fills the status of each stage."""
        return super().tasks() | {
            "inference": self._inference,
            "index": self._index,
            "decision": self._decision,
            "map": self._map,
            "tf": self._tf,
        }

    def _inference(self, status):
        node, health = self._node, self._health
        timing, total = health.timing("inference"), health.timing("total")
        received, dropped = node.inputs.received if node.inputs else 0, node.inputs.dropped if node.inputs else 0
        came, lost = received - self._received, dropped - self._dropped
        self._received, self._dropped = received, dropped
        if sentences := health.newest("inference", SENTENCE_AGE_S):
            status.summary(ERROR, sentences)
        elif timing is None or total is None:
            status.summary(OK, "no image described yet")
        else:
            times = f"p50 {1e3 * total.p50_s:.0f} ms, p95 {1e3 * total.p95_s:.0f} ms an image"
            if came > 0 and lost > DROPPED_SHARE * came and not node.get_parameter("rate_limit_hz").value:
                status.summary(
                    WARN,
                    f"too slow: {times} for {health.rate_hz('image'):.0f} images/s; the newest are "
                    f"answered, {100 * lost / came:.0f} % dropped",
                )
            else:
                status.summary(OK, times)
        for stage in _STAGES:
            if t := health.timing(stage):
                status.add(f"{stage} p50/p95 (ms)", f"{1e3 * t.p50_s:.1f} / {1e3 * t.p95_s:.1f}")
        if node.pipeline is not None:
            status.add("checkpoint", node.pipeline.extractor.name)
            status.add("fingerprint", node.pipeline.extractor.fingerprint[:12])
            status.add("device", network_phrase(node.pipeline.extractor))
        return with_counts(status, health, "inference")

    def _index(self, status):
        pipeline = self._node.pipeline
        if pipeline is None or pipeline.recogniser is None:
            reason = "mode map searches nothing" if pipeline and pipeline.mode == "map" else "no map is searched yet"
            status.summary(OK, reason)
            return status
        size, timing = len(pipeline.recogniser), self._health.timing("search")
        status.summary(WARN if size == 0 else OK, f"{size} keyframes are searched")
        if timing is not None:
            status.add("search p50/p95 (ms)", f"{1e3 * timing.p50_s:.2f} / {1e3 * timing.p95_s:.2f}")
        for event, n in self._health.counts("matching").items():
            status.add(f"local features: frames {event}", str(n))
        if (local := self._health.timing("local features")) is not None:
            status.add("local features p50/p95 (ms)", f"{1e3 * local.p50_s:.1f} / {1e3 * local.p95_s:.1f}")
        if sentence := self._health.newest("matching", SENTENCE_AGE_S):
            status.add("local features, last", sentence)
        status.add("place radius", f"{pipeline.recogniser.topology.radius:g}")
        mean = pipeline.recogniser.drive_mean
        if mean is None:
            status.add("drive mean", "off")
        else:
            status.add("drive mean", f"{mean.frames:.1f} frames of new content, remembers {mean.memory_frames:g}")
            status.add("drive mean, distance to the map's", f"{mean.from_prior:.3f}")
        return status

    def _decision(self, status):
        pipeline, recent = self._node.pipeline, self._health.recent("decision")
        if pipeline is None or pipeline.mode == "map" or not recent:
            status.summary(OK, "nothing to decide yet" if pipeline is None or pipeline.mode != "map" else "mode map")
        elif recent["accepted"]:
            status.summary(OK, f"{recent['accepted']} of the last {sum(recent.values())} answers accepted")
        else:
            reasons = ", ".join(f"{n} {reason}" for reason, n in recent.most_common())
            status.summary(WARN, f"no place accepted in the last {sum(recent.values())} answers: {reasons}")
        if pipeline is not None and pipeline.calibration:
            status.add("probabilities from", pipeline.calibration)
        if pipeline is not None and pipeline.recogniser is not None:
            plain, odometry = pipeline.recogniser.accept_probabilities
            status.add("accepted from probability", f"{odometry:g} with odometry, {plain:g} without")
        if sentences := self._health.newest("decision"):
            status.add("last note", sentences)
        for reason, n in self._health.counts("verification").items():
            status.add(f"verification: {reason}", str(n))
        return with_counts(status, self._health, "decision")

    def _map(self, status):
        node, pipeline = self._node, self._node.pipeline
        if pipeline is None:
            status.summary(ERROR if node.last_error else WARN, node.last_error or "no map: the node is not configured")
            return status
        place_map, wrong_lens = pipeline.place_map, self._other_lens()
        on_disk = pipeline.on_disk.problem
        if sentences := self._health.newest("map", SENTENCE_AGE_S):
            # What became of the file often is why it cannot be read or written.
            status.summary(ERROR, f"{on_disk}; {sentences}" if on_disk else sentences)
        elif on_disk:
            status.summary(WARN, on_disk)
        elif wrong_lens:
            status.summary(WARN, wrong_lens)
        elif pipeline.mode != "localize" and not pipeline.mapping:
            status.summary(WARN, "mapping is switched off")
        else:
            status.summary(OK, f"{pipeline.keyframe_count} keyframes")
        status.add("path", str(place_map.path))
        status.add("mode", pipeline.mode)
        status.add("map id", place_map.map_id)
        status.add("version", str(place_map.version))
        status.add("frame", place_map.frame_id)
        status.add("keyframes", str(pipeline.keyframe_count))
        if pipeline.mode != "localize":
            status.add("saved up to keyframe", str(place_map.saved_up_to()))
            status.add("session", str(pipeline.session or "not begun"))
        return with_counts(status, self._health, "map")

    def _tf(self, status):
        node, transform = self._node, self._node.map_to_odom
        if transform is None or not node.active:
            status.summary(OK, "not active" if transform else "publish_tf is off")
            return status
        now, age_s = transform.status()
        problem = transform.problem()
        if transform.refused:
            status.summary(ERROR, transform.refused)
        elif problem:
            status.summary(WARN, f"{now.state}; {problem}")
        elif now.state == "following":
            status.summary(OK, f"following, to {now.std_m:.2f} m and {now.std_deg:.1f} degrees")
        else:
            status.summary(WARN, "waiting for a first pose" if now.state == "waiting" else f"held: {now.reason}")
        status.add("state", "refused" if transform.refused else now.state)
        status.add("last used pose (s ago)", "never" if age_s is None else f"{age_s:.1f}")
        for key, value in (
            ("standard deviation (m)", now.std_m),
            ("standard deviation (degrees)", now.std_deg),
            ("travelled since the last used pose (m)", now.travelled_m),
            ("correction still to come (m)", now.pending_m),
            ("correction still to come (degrees)", now.pending_deg),
        ):
            status.add(key, "unknown" if value is None else f"{value:.2f}")
        return with_counts(status, self._health, "tf")

    def _other_lens(self) -> str:
        """A sentence where this camera sees much wider or narrower than the one that mapped."""
        pipeline, camera = self._node.pipeline, self._node.camera
        if pipeline.mode == "map" or camera is None or camera.hfov_deg is None:
            return ""
        mapped = [m.hfov_deg for m in pipeline.place_map.cameras.values() if m.hfov_deg]
        if not mapped or any(max(h, camera.hfov_deg) <= WIDER * min(h, camera.hfov_deg) for h in mapped):
            return ""
        return (
            f"this camera sees {camera.hfov_deg:.0f} degrees and the map's saw {mapped[-1]:.0f}: places look "
            "different, expect fewer matches"
        )
