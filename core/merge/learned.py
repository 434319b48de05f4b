"""A learned router: a softmax over the question's embedding, trained on train rows."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from core.config import RouteConfig
from core.merge import questions
from core.merge.parents import Parent
from core.merge.questions import Questions
from core.merge.route import Fit
from core.routing import BIAS, DIRECTIONS
from core.workspace import Workspace

PENALTIES = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)
"""L2 penalties that are tried on validation rows, each from the minimum of the one before."""


def learned(members: Sequence[Parent], config: RouteConfig, workspace: Workspace) -> Fit:
    """logits = D e + b by multinomial logistic regression. Penalty, and temperature if not given, are chosen on validation rows."""
    given = questions.material(members, config, workspace)
    train, validation = given.train, given.validation
    questions.need(validation, "penalty", config)
    tried: list[tuple[float, float, float, Tensor, Tensor]] = []
    directions, bias = torch.zeros(len(members), train.embeddings.shape[1]).double(), torch.zeros(len(members)).double()
    for done, penalty in enumerate(PENALTIES, 1):
        directions, bias = regression(train, penalty, directions, bias)
        logits = validation.embeddings @ directions.T + bias
        temperature, loss = questions.temperature(logits, validation.owners)
        if config.temperature:
            temperature, loss = config.temperature, float(F.cross_entropy(logits / config.temperature, validation.owners))
        tried.append((loss, penalty, temperature, directions, bias))
        workspace.progress(done, len(PENALTIES), "penalties")
    _, penalty, temperature, directions, bias = min(tried, key=lambda each: each[0])
    logits = validation.embeddings @ directions.T + bias
    said = given.said | {"penalty": penalty} | questions.report(logits, validation.owners, temperature, workspace)
    return Fit({DIRECTIONS: directions, BIAS: bias}, temperature, given.categories, len(members), said)


def regression(train: Questions, penalty: float, directions: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """D [K, dim] and b [K] at the minimum of mean cross-entropy + penalty / 2 ||D||^2, from a start; by L-BFGS, float64. It is one."""
    directions, bias = directions.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [directions, bias], max_iter=2000, tolerance_grad=1e-7, tolerance_change=1e-14, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(train.embeddings @ directions.T + bias, train.owners) + penalty / 2 * directions.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return directions.detach(), bias.detach()
