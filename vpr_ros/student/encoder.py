"""Cross-image encoder: lets the images of a batch see one another (for reproducing published figures only)."""

from __future__ import annotations

from torch import Tensor, nn


class CrossImageEncoder(nn.Module):
    """Post-norm transformer layers whose attention runs over the images of the batch, separately for each region."""

    def __init__(self, dim: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(dim, heads, hidden, dropout=0.1, activation="gelu", batch_first=False)
        self.stack = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, regions: Tensor) -> Tensor:
        """(B, 14, dim) -> (B, 14, dim): the batch is the sequence, the region is the batch."""
        return self.stack(regions)
