"""A data loader that keeps the errors of its worker processes as they were raised."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from vpr_ros.errors import VprError


class SampleLoader(DataLoader):
    """A DataLoader that returns a VprError of a worker process as a value and raises it in the caller's process.

    torch would put the worker's traceback into the error's text.
    """

    def __init__(self, samples: Any, *, collate_fn: Callable[[list], Any], **settings: Any):
        super().__init__(_ErrorsAsSamples(samples), collate_fn=_ErrorsAsBatches(collate_fn), **settings)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # torch draws a random number when its iterator is made; a generator here would delay that to the first batch.
        return _raise_errors(super().__iter__())


def _raise_errors(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        if isinstance(batch, VprError):
            raise batch
        yield batch


class _ErrorsAsSamples(Dataset):
    def __init__(self, samples: Any):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.samples[key]
        except VprError as error:
            return error


class _ErrorsAsBatches:
    def __init__(self, collate: Callable[[list], Any]):
        self.collate = collate

    def __call__(self, items: list) -> Any:
        for item in items:
            if isinstance(item, VprError):
                return item
        try:
            return self.collate(items)
        except VprError as error:
            return error
