"""Models that are mixes of adapters, side by side in one batch: which weights each row gets."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core import adapter
from core.answering.models import Model
from core.bank import AdapterBank, Router
from core.data.prompt import Encoded
from core.data.read import QA
from core.models.load import BaseModel
from core.results import RouteWeight
from core.routing import Route


@dataclass(frozen=True)
class RouteShare:
    """What a route gave to its adapters for one question."""

    model: int
    """Place of the route among the models."""
    question: int
    """Place among the questions."""
    shares: list[float]
    """Of each of the route's adapters."""


def route_weights(run: str, models: Sequence[Model], questions: Sequence[QA], shares: Sequence[RouteShare]) -> list[RouteWeight]:
    """Rows of route_weights.csv: each adapter's share, question by question."""
    rows = []
    for each in shares:
        model, asked = models[each.model], questions[each.question]
        assert model.route
        for folder, share, own in zip(model.route.adapters, each.shares, model.route.categories, strict=True):
            rows.append(RouteWeight(run, model.row.model, asked.category, asked.question, folder.name, share, int(asked.category in own)))
    return rows


@dataclass(frozen=True)
class _Routed:
    """A route among the models."""

    route: Route
    spread: Tensor
    """[adapters of the route, folders of the bank]: what each adapter is made of"""
    used: Tensor
    """[questions, adapters of the route]: the weights; of a route by token their mean, which adds up layer by layer"""


class SideBySide:
    """A bank of all adapters that the models are made of. Row i stands for model i // Q and question i % Q, of Q questions."""

    def __init__(self, base: BaseModel, models: Sequence[Model], questions: Sequence[QA], encoded: Sequence[Encoded]) -> None:
        self._models, self._questions, self._device = models, questions, base.device
        self._lengths = torch.tensor([len(each) for each in encoded], device=base.device)
        self._folders = list(dict.fromkeys(folder for model in models for folder in model.folders))
        self._bank = AdapterBank.load(base.model, [adapter.read(folder) for folder in self._folders]) if self._folders else None
        self._routed = {place: self._ready(model.route, model.routed) for place, model in enumerate(models) if model.route}
        self._weights = torch.cat([self._fixed(place) for place in range(len(models))])

    def mixing(self, rows: list[int]) -> AbstractContextManager[Any]:
        """The weights of some rows, for a batch of them."""
        return self._mixing(rows, note=False)

    def mixing_of_references(self, rows: list[int]) -> AbstractContextManager[Any]:
        """The same, and notes what routes by token use. For one pass over prompts and references, padded on the right."""
        return self._mixing(rows, note=True)

    def shares(self, questions: Sequence[int]) -> list[RouteShare]:
        """What each route gave to its adapters for these questions."""
        return [
            RouteShare(place, question, routed.used[question].tolist()) for place, routed in self._routed.items() for question in questions
        ]

    def detach(self) -> None:
        """Take the bank off the base model."""
        if self._bank:
            self._bank.detach()

    def _ready(self, route: Route, mixes: Sequence[Mapping[Path, float]]) -> _Routed:
        if route.by_token:
            used = torch.zeros(len(self._questions), len(route.adapters))
        else:
            used = route.weights([row.question for row in self._questions])
        return _Routed(route.to(self._device), self._matrix(mixes), used.to(self._device))

    def _fixed(self, place: int) -> Tensor:
        """A model's weights for each question, [questions, folders]; zeros for a route by token, whose weights come with the tokens."""
        if place in self._routed:
            return self._routed[place].used @ self._routed[place].spread
        if owned := self._models[place].by_category:
            return self._matrix([owned.get(row.category, {}) for row in self._questions])
        return self._matrix([self._models[place].mix]).expand(len(self._questions), -1)

    def _matrix(self, mixes: Sequence[Mapping[Path, float]]) -> Tensor:
        """[mixes, folders]"""
        weights = [mix.get(folder, 0.0) for mix in mixes for folder in self._folders]
        return torch.tensor(weights, device=self._device).view(len(mixes), len(self._folders))

    def _mixing(self, rows: list[int], note: bool) -> AbstractContextManager[Any]:
        if self._bank is None:
            return nullcontext()
        by_token: dict[int, list[int]] = {}
        for position, row in enumerate(rows):
            place = row // len(self._questions)
            if place in self._routed and self._routed[place].route.by_token:
                by_token.setdefault(place, []).append(position)
        return self._bank.mixing(self._router(rows, by_token, note) if by_token else self._weights[rows])

    def _router(self, rows: list[int], by_token: Mapping[int, list[int]], note: bool) -> Router:
        """Fixed weights for some rows of a batch, and a route's for the rows at the positions that `by_token` has for it."""
        fixed = self._weights[rows]

        def weights(layer: str, x: Tensor) -> Tensor:
            shares = fixed[:, None].repeat(1, x.shape[1], 1)
            for place, positions in by_token.items():
                routed = self._routed[place]
                found = routed.route.token_weights(layer, x[positions])
                shares[positions] = found @ routed.spread
                if note:
                    self._note(routed, [rows[position] % len(self._questions) for position in positions], found)
            return shares

        return weights

    def _note(self, routed: _Routed, questions: list[int], found: Tensor) -> None:
        """Add one layer's mean over the tokens that are no padding, found [rows, tokens, K], to what the route used for these questions."""
        lengths = self._lengths[questions, None]
        real = torch.arange(found.shape[1], device=found.device) < lengths
        routed.used[questions] += (found * real[..., None]).sum(1) / lengths / len(routed.route.tensors)
