"""Threads of number libraries that have nothing to do: they sleep, where by default they spin."""

import os

# OpenMP (PyTorch): beside other programs, spinning made a small network twenty times slower. OpenBLAS (NumPy): it spins
# for 2 to the power of this many clock cycles, by default longer than a network of 20 ms takes.
SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}


def let_idle_threads_sleep() -> None:
    """To be called before NumPy and PyTorch are imported, which read it once; what the user has set stays."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
