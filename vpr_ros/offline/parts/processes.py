"""Parts on this machine: in this process, or several at once, each in a process of its own."""

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import cast

from vpr_ros.offline.parts.part import Part, PartResult, make_part
from vpr_ros.runtime.threads import share_cores


def in_processes(parts: Sequence[Part], jobs: int) -> Iterator[PartResult]:
    """Make parts, `jobs` at once and each in its own process; in this one where a single one is at work.

    A process that dies costs its own part. No process is left, however the iteration ends; a part that is not whole
    leaves nothing that counts.
    """
    if min(jobs, len(parts)) < 2:
        yield from map(make_part, parts)
        return
    waiting, running = deque(parts), dict[Connection, tuple[Part, SpawnProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                part = waiting.popleft()
                connection, process = _started(part, jobs)
                running[connection] = part, process
            for connection in cast(list[Connection], wait(list(running))):
                part, process = running.pop(connection)
                yield _result(part, process, connection)
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def _started(part: Part, jobs: int) -> tuple[Connection, SpawnProcess]:
    """A process that makes a part, and the end of a pipe that the result comes from.

    Ctrl-C of a terminal goes to all processes: it is kept from this one from the very start, since its parent ends it.
    """
    spawn = get_context("spawn")  # a fork would inherit the threads of PyTorch without what they wait for
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_work, args=(sender, part, jobs), name=part.bag.name, daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        sender.close()  # the process has its own
    return receiver, process


def _work(sender: Connection, part: Part, jobs: int) -> None:
    share_cores(jobs)
    sender.send(make_part(part))


def _result(part: Part, process: SpawnProcess, connection: Connection) -> PartResult:
    with connection:
        try:
            return connection.recv()
        except EOFError:
            process.join()
            code = process.exitcode or 0
            how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
            why = ", as it is when memory runs out" if code == -signal.SIGKILL else ""
            return PartResult(part.bag, None, f"its process {how}{why}; with fewer --jobs each has more of the machine")
