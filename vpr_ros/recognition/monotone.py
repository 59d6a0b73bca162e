"""Additive, piecewise-linear, non-decreasing log-odds."""

from dataclasses import dataclass
from typing import Any

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))


def logit(p: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """log(p / (1 - p)), p kept `eps` away from 0 and 1."""
    p = np.clip(np.asarray(p, dtype=np.float64), eps, 1 - eps)
    return np.log(p / (1 - p))


@dataclass(frozen=True)
class MonotoneMap:
    """score(x) = intercept + sum over features of a piecewise-linear function through (knots, values).

    Values rise with the knots and are constant beyond the last: outside the data that it was fitted on, a feature says
    no more than at its border.
    """

    intercept: float
    knots: tuple[tuple[float, ...], ...]
    values: tuple[tuple[float, ...], ...]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Scores (N,) of features (N, F); those behind the last that it has knots for are left aside."""
        out = np.full(len(features), self.intercept)
        for column, (knots, values) in enumerate(zip(self.knots, self.values, strict=True)):
            out += np.interp(features[:, column], knots, values)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "intercept": self.intercept,
            "knots": [list(k) for k in self.knots],
            "values": [list(v) for v in self.values],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "MonotoneMap":
        """Inverse of `to_dict`; ValueError, KeyError or TypeError for anything that is no rising map."""
        knots = tuple(tuple(float(x) for x in k) for k in data["knots"])
        values = tuple(tuple(float(x) for x in v) for v in data["values"])
        for k, v in zip(knots, values, strict=True):
            if len(k) != len(v) or len(k) < 2 or not np.isfinite([*k, *v]).all():
                raise ValueError("knots and values must be finite and of equal length, two at least")
            if (np.diff(k) <= 0).any() or (np.diff(v) < 0).any():
                raise ValueError("knots must rise and values must not fall")
        intercept = float(data["intercept"])
        if not np.isfinite(intercept):
            raise ValueError("the intercept must be finite")
        return cls(intercept, knots, values)


def lower_of(one: MonotoneMap, other: MonotoneMap) -> MonotoneMap:
    """The map of one feature whose score is everywhere the smaller one of two such maps' scores."""
    x = np.unique([*one.knots[0], *other.knots[0]])
    gap = one(x[:, None]) - other(x[:, None])
    crossed = np.flatnonzero(gap[:-1] * gap[1:] < 0)
    share = gap[crossed] / (gap[crossed] - gap[crossed + 1])
    x = np.unique(np.r_[x, x[crossed] + share * (x[crossed + 1] - x[crossed])])
    scores = np.minimum(one(x[:, None]), other(x[:, None]))
    return MonotoneMap(0.0, (tuple(x.tolist()),), (tuple(np.maximum.accumulate(scores).tolist()),))
