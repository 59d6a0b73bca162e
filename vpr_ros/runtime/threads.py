"""How many threads the network runs on: by its work for one batch, in one place for the node and the commands."""

from functools import lru_cache

# A thread is worth waking for so much work. Below, threads wait for one another longer than they calculate, and beside
# other programs for a core as well. On two idle cores the shipped network was slower on two threads than on one up to 8
# images at once and faster from 16 on; the paper's size gained a tenth with one image and a third with two.
WORK_PER_THREAD = 2.5e9
PATCH = 16  # pixels a side; work is parameters times such patches of the image, which is near its multiplications


def choose_threads(parameters: int, input_size: tuple[int, int], batch: int, most: int) -> int:
    """1 to `most` threads for a network of so many parameters and input pixels (height, width)."""
    work = parameters * (input_size[0] / PATCH) * (input_size[1] / PATCH) * batch
    return max(1, min(most, int(work / WORK_PER_THREAD)))


@lru_cache(maxsize=1)
def most_threads() -> int:
    """PyTorch's own choice, before any of ours: the machine's cores, or what OMP_NUM_THREADS allows."""
    import torch

    return torch.get_num_threads()


def use_threads(parameters: int, input_size: tuple[int, int], batch: int, asked: int = 0) -> int:
    """Let this process calculate on `asked` threads, or on as many as the network is worth where that is 0."""
    import torch

    count = asked or choose_threads(parameters, input_size, batch, most_threads())
    torch.set_num_threads(count)
    return count


def threads_in_use() -> int:
    """On how many threads this process calculates."""
    import torch

    return torch.get_num_threads()


def share_cores(processes: int) -> None:
    """One of so many processes that calculate at once takes its share of the cores; before a network is loaded."""
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
