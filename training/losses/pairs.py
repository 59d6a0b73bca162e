"""Which pairs of a batch show the same place, which do not, and which are left out."""

import torch


def place_pairs(
    positions_m: torch.Tensor,
    headings_rad: torch.Tensor,
    cities: torch.Tensor,
    *,
    positive_m: float,
    positive_rad: float,
    negative_m: float,
    negative_rad: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks (B, B) of positive and negative pairs of frames.

    Positive: same city, at most `positive_m` apart and turned by at most `positive_rad`; never a frame with itself.
    Negative: another city, `negative_m` or more apart, or looking another way by `negative_rad` or more. Pairs
    between the two are neither: a camera sees much of the same street from there.
    """
    distance = torch.cdist(positions_m.double(), positions_m.double())
    turn = torch.remainder(headings_rad[:, None] - headings_rad[None] + torch.pi, 2 * torch.pi).sub(torch.pi).abs()
    same_city = cities[:, None] == cities[None]
    positive = same_city & (distance <= positive_m) & (turn <= positive_rad)
    positive.fill_diagonal_(False)
    negative = ~same_city | (distance >= negative_m) | (turn >= negative_rad)
    return positive, negative
