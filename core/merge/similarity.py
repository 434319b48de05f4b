"""Routing by likeness: a question goes to the adapters whose train questions it resembles."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from core.config import RouteConfig
from core.merge import questions
from core.merge.parents import Parent
from core.merge.route import Fit
from core.routing import BIAS, DIRECTIONS
from core.workspace import Workspace


def similarity(members: Sequence[Parent], config: RouteConfig, workspace: Workspace) -> Fit:
    """logits = cos(question, centroid of the adapter's train questions). The temperature, if not given, is chosen on validation rows.

    Centroids of sentence embeddings as in Snell et al. 2017, Prototypical Networks, arXiv:1703.05175.
    """
    given = questions.material(members, config, workspace)
    centroids = torch.stack([given.train.embeddings[given.train.owners == place].mean(0) for place in range(len(members))])
    directions = F.normalize(centroids)
    logits = given.validation.embeddings @ directions.T
    if config.temperature is None:
        questions.need(given.validation, "temperature", config)
    temperature = config.temperature or questions.temperature(logits, given.validation.owners)[0]
    said = given.said | questions.report(logits, given.validation.owners, temperature, workspace)
    return Fit({DIRECTIONS: directions, BIAS: torch.zeros(len(members))}, temperature, given.categories, len(members), said)
