"""The tables of merges, beside a merged adapter, and of searches for weights."""

from dataclasses import dataclass

from core.results.table import Row


@dataclass(frozen=True)
class Fidelity(Row):
    """fidelity.csv, beside a merged adapter: how near a merge is to the exact weighted sum of its adapters, layer by layer.

    Norms are Frobenius norms; E is the exact sum, M the merged delta as written.
    """

    layer: str
    """'(all)': over all layers together."""
    measure: str
    """relative_error: ||M - E|| / ||E||. norm_ratio: ||M|| / ||E||. energy_kept: share of the strategy's own result left at the rank.
    sign_conflict: share of the entries in which two weighted deltas differ in sign. cancelled: 1 - sum |E| / sum_i sum |w_i d_i|."""
    value: float | None
    """Empty where the exact sum is 0."""


@dataclass(frozen=True)
class Cosine(Row):
    """cosines.csv, beside a merged adapter: how alike the deltas of two of its adapters are, over all layers; weights play no part."""

    one: str
    other: str
    cosine: float
    """<d_1, d_2> / (||d_1|| ||d_2||), -1 to 1."""


@dataclass(frozen=True)
class Trial(Row):
    """trials.csv: one figure of one mix that a search tried. Losses: nats per answer token, on validation rows."""

    trial: int
    """In the order they were tried, from 0, over all strategies."""
    strategy: str
    origin: str
    """base (nothing), alone, average (1/n each), equal (more than that each), sum (1 each), surface, or the optimiser's name."""
    figure: str
    """weight: of the adapter `name`. loss: of the category `name`, '(all)' being the mean of the categories' losses.
    worst: loss of the worst category, which is `name`. pareto: 1 where no trial is lower in mean and worst, else 0."""
    name: str
    value: float


@dataclass(frozen=True)
class SurfacePoint(Row):
    """surface.csv: the loss over the weights of two adapters, the others at the best weights found. One row per point and category."""

    one: str
    other: str
    one_weight: float
    other_weight: float
    strategy: str
    category: str
    """'(all)': the mean of the categories' losses."""
    loss: float
    """Nats per answer token, on validation rows."""
