"""Parts on a cluster, by Ray: one task each. Placing, repeating and watching them is Ray's own work."""

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from vpr_ros.errors import VprError
from vpr_ros.offline.parts.part import Part, PartResult, make_part

RETRIES = 3  # of a task whose worker or machine dies


def require_ray() -> None:
    """VprError, with what to install, where Ray is missing."""
    if find_spec("ray") is None:
        raise VprError(
            "Ray is not installed here: `pip install 'vpr_ros[cluster]'` brings it where it has a wheel; without it "
            "use --jobs on one machine, or `vpr_ros map` for each bag and `vpr_ros merge`."
        )


def on_ray(parts: Sequence[Part]) -> Iterator[PartResult]:
    """Make parts on the cluster that Ray finds (RAY_ADDRESS, or one that runs here), else on a Ray of this machine.

    Each task asks for one CPU, and for one GPU where the network's device is CUDA. All machines see bags, checkpoint
    and the map's folder under the same paths. A worker that dies is replaced, and its part is made again.
    """
    with _connected() as ray:
        task = ray.remote(make_part)
        gpus = 1 if parts and parts[0].network.device.startswith("cuda") else 0
        waiting = {
            task.options(name=part.bag.name, num_cpus=1, num_gpus=gpus, max_retries=RETRIES).remote(part): part
            for part in parts
        }
        try:
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                part = waiting.pop(done)
                try:
                    yield ray.get(done)
                except ray.exceptions.RayError as error:
                    said = str(error).strip().splitlines() or [type(error).__name__]
                    yield PartResult(part.bag, None, f"Ray could not map it: {said[-1].strip()}")
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray, connected; the connection ends with the block, and so does a Ray that it has started.

    Signals end the command as before: Ray would take them.
    """
    require_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    import ray

    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise VprError(f"Ray cannot be reached: {str(error).strip().splitlines()[0]}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        yield ray
    finally:
        ray.shutdown()
