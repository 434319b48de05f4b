"""The win rate if both answers had the same length: AlpacaEval 2's idea without its term per question. Dubois et al. 2024, arXiv:2404.04475

logit P(the candidate wins) = a + b tanh(d / s), d = characters of the candidate's answer less the base's, s = the standard deviation of d.
The figure is sigmoid(a): the win rate at d = 0, a tie counting as half a win. Light: numpy and pandas.
"""

from typing import Any

import numpy as np
import pandas as pd

from core.judge.measures import JUDGED, lengths, questions
from core.stats import NOTHING, Estimate, Z, per_cluster

PENALTY = 0.01
"""On b squared: one over the C of AlpacaEval's own regression. It keeps b finite where length alone explains every verdict."""
STEPS = 100
_WON = {"fine-tuned": 1.0, "tie": 0.5, "base": 0.0}


def win_rate(verdicts: pd.DataFrame) -> Estimate:
    """The length-controlled win rate; interval from the variance over questions (Liang and Zeger 1986, Biometrika 73), on the logit.

    NaN where it can't be told: all verdicts the same, or all differences of length.
    """
    judged = verdicts[verdicts["verdict"].isin(JUDGED)]
    won = judged["verdict"].map(_WON).to_numpy(dtype=float)
    difference = lengths(judged).astype(float)
    if len(won) < 2 or won.min() == won.max() or difference.min() == difference.max():
        return NOTHING
    features = np.stack([np.ones_like(won), np.tanh(difference / difference.std(ddof=1))], axis=1)
    weights = _fit(features, won)
    error = np.sqrt(_variance(features, won, weights, questions(judged))[0, 0])
    value, low, high = _sigmoid(weights[0] + error * np.array([0, -Z, Z]))
    return Estimate(float(value), float(low), float(high), len(won))


def _fit(features: np.ndarray, won: np.ndarray) -> np.ndarray:
    """Newton's method, each step no longer than 1 so that it can't overshoot."""
    weights, ridge = np.zeros(2), np.diag([0, PENALTY])
    for _ in range(STEPS):
        expected = _sigmoid(features @ weights)
        slope = features.T @ (won - expected) - ridge @ weights
        step = np.linalg.solve(_curvature(features, expected) + ridge, slope)
        step /= max(1.0, float(np.linalg.norm(step)))
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    return weights


def _variance(features: np.ndarray, won: np.ndarray, weights: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sandwich variance of the weights [2, 2]: what is left over is summed per question first.

    One made-up question that was won and one that was lost join it, as in `core.stats.clustered`, so that it never collapses.
    """
    expected = _sigmoid(features @ weights)
    left_over = per_cluster(features * (won - expected)[:, None], clusters)
    share = _sigmoid(weights[0])
    left_over = np.concatenate([left_over, len(won) / len(left_over) * np.array([[1 - share, 0], [-share, 0]])])
    bread = np.linalg.inv(_curvature(features, expected) + np.diag([0, PENALTY]))
    count = len(left_over)
    few: float = count / max(count - 1, 1)
    return np.asarray(few * bread @ (left_over.T @ left_over) @ bread)


def _curvature(features: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.asarray(features.T @ (features * (expected * (1 - expected))[:, None]))


def _sigmoid(logit: Any) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logit)))
