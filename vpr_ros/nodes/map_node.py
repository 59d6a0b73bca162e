"""The service `~/load_map`: another map, by the node's own transitions, without a restart."""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from nav_msgs.srv import LoadMap
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from vpr_ros.errors import VprError
from vpr_ros.nodes.lifecycle import WorkerNode
from vpr_ros.place_map import PlaceMap

if TYPE_CHECKING:
    from vpr_ros.runtime.opening import Extractor
    from vpr_ros.runtime.pipeline import Pipeline


class MapNode(WorkerNode):
    """A node with a map, which `~/load_map` changes: `nav_msgs/LoadMap`, as nav2's map server does for its grids.

    A map that cannot be used is refused before anything is closed, and the old one goes on. Otherwise the node is
    deactivated, cleaned up, configured and activated as by hand, but keeps the network. The reason of a refusal is in
    the log and in /diagnostics, since the answer has only a number.
    """

    def __init__(self, name: str, **kwargs: Any):
        super().__init__(name, **kwargs)
        self.pipeline: Pipeline | None = None
        self.spare_extractor: Extractor | None = None  # a network that the next configure takes over
        self.create_service(LoadMap, "~/load_map", self._load_map)

    def _load_map(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        """The answer of the service; the node is in the state in which it was found."""
        response.result = LoadMap.Response.RESULT_UNDEFINED_FAILURE
        try:
            path = _path(request.map_url)
            if not path.exists():
                response.result = LoadMap.Response.RESULT_MAP_DOES_NOT_EXIST
                raise VprError(f"map {path} does not exist")
            if self.pipeline is None:
                raise VprError("the node is not configured: set map_path, and configure it")
            response.result = LoadMap.Response.RESULT_INVALID_MAP_DATA
            _check(path, self.pipeline)
            response.result = LoadMap.Response.RESULT_UNDEFINED_FAILURE
            self._change_map(str(path), self.pipeline)
        except VprError as error:
            self.health.count("map", "load_map refused", f"load_map: {error}")
            self.get_logger().error(f"load_map refused: {error}")
            return response
        response.result = LoadMap.Response.RESULT_SUCCESS
        response.map.header.frame_id = self.pipeline.place_map.frame_id
        return response

    def _change_map(self, path: str, pipeline: "Pipeline") -> None:
        """VprError where the node could not be brought up with the map; then it has its old one again, if it can."""
        active, before = self.active, self.get_parameter("map_path").value
        if self.get_parameter("checkpoint").value == pipeline.config.checkpoint:
            self.spare_extractor = pipeline.extractor
        try:
            if active:
                self.trigger_deactivate()
            self.trigger_cleanup()
            if not self._up(path, active):
                reason = self.last_error
                self._up(before, active)
                raise VprError(reason)
        finally:
            self.spare_extractor = None

    def _up(self, path: str, active: bool) -> bool:
        done = TransitionCallbackReturn.SUCCESS
        self.set_parameters([Parameter("map_path", value=path)])
        return self.trigger_configure() == done and (not active or self.trigger_activate() == done)


def _check(path: Path, pipeline: "Pipeline") -> None:
    extractor = pipeline.extractor
    with PlaceMap.open(
        path, fingerprint=extractor.fingerprint, dim=extractor.dim, model_name=extractor.name, writable=False
    ) as place_map:
        if pipeline.mode == "localize" and not len(place_map):
            raise VprError(f"map {path} has no keyframes")


def _path(url: str) -> Path:
    """The file of a path or of a `file://` URL."""
    parts: Any = urlsplit(url)
    if not url.strip():
        raise VprError("map_url is empty: name the map file")
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if "://" in url:
        raise VprError(f"map_url '{url}' is no file of this machine: give a path, or file:///PATH")
    return Path(url).expanduser()
