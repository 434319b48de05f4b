"""What a run may spend, in tokens and in money: said before, kept while it asks, said after."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from core.config import JudgeConfig
from core.errors import UserError
from core.judge.backend import Backend, Comparison, Tokens
from core.wording import count


@dataclass(frozen=True)
class Prices:
    """Money for a million tokens; None: not known, and then no cost is."""

    prompt: float | None = None
    reply: float | None = None

    def of(self, tokens: Tokens | None) -> float | None:
        """What so many tokens cost."""
        if self.prompt is None or self.reply is None or tokens is None:
            return None
        return (tokens.prompt * self.prompt + tokens.reply * self.reply) / 1e6


def prices(config: JudgeConfig) -> Prices:
    """The prices of a config. Raises UserError for a budget in money without them."""
    if config.budget_money is not None and (config.price_in is None or config.price_out is None):
        raise UserError(f"budget_money={config.budget_money:g} can't be kept without prices. Give price_in and price_out.")
    return Prices(config.price_in, config.price_out)


class Budget:
    """Lets a call begin only where what was spent and what is under way at most leave room for it. One for a run."""

    def __init__(self, config: JudgeConfig, spent: Tokens) -> None:
        """`spent`: by this same run, before it was stopped and resumed."""
        self._prices = prices(config)
        self._most_tokens, self._most_money = config.budget_tokens, config.budget_money
        self.tokens, self.money = spent.total, self._prices.of(spent) or 0.0
        self._under_way: list[Tokens] = []
        self._changed = threading.Condition()

    def check_first(self, most: Tokens) -> None:
        """Raises UserError where nothing is spent yet, and still there is no room for one call."""
        if self.tokens or not self._over(most):
            return
        money = self._prices.of(most)
        tokens = self._most_tokens is not None and most.total > self._most_tokens
        budget = f"budget_tokens={self._most_tokens}" if tokens else f"budget_money={self._most_money:g}"
        cost = "" if tokens or money is None else f", {money:.4g} in money"
        raise UserError(
            f"{budget} is too small: the first call may take up to {most.total} tokens{cost}, "
            f"{most.reply} of them for the reply. Raise it, or lower max_tokens."
        )

    def begin(self, most: Tokens) -> str:
        """Wait until the call fits. Empty, or why it never will."""
        with self._changed:
            while why := self._over(most):
                if not self._under_way:
                    return why
                self._changed.wait()
            self._under_way.append(most)
            return ""

    def end(self, most: Tokens, spent: Tokens) -> None:
        """The call is over."""
        with self._changed:
            self._under_way.remove(most)
            self.tokens += spent.total
            self.money += self._prices.of(spent) or 0.0
            self._changed.notify_all()

    def _over(self, most: Tokens) -> str:
        together = [*self._under_way, most]
        if self._most_tokens is not None and self.tokens + sum(each.total for each in together) > self._most_tokens:
            return f"budget_tokens={self._most_tokens} is used up, {self.tokens} tokens are spent"
        if self._most_money is not None and self.money + sum(self._prices.of(each) or 0.0 for each in together) > self._most_money:
            return f"budget_money={self._most_money:g} is used up, {self.money:.4g} is spent"
        return ""


@dataclass(frozen=True)
class Forecast:
    """What is still to be asked of a judge, and what it will take."""

    requests: int
    known: int
    """Replies that are there already and cost nothing."""
    tokens: int
    money: float | None

    def sentence(self) -> str:
        """The same in words."""
        there = f"{count(self.known, 'reply is', 'replies are')} there already" if self.known else "no reply is there yet"
        if not self.tokens:
            return f"{count(self.requests, 'call')}; {there}."
        money = "" if self.money is None else f", {self.money:.4g} in money"
        return f"{count(self.requests, 'call')}, about {self.tokens} tokens{money}; {there}."


def forecast(judge: Backend, missing: Sequence[Comparison], known: int, price: Prices) -> Forecast:
    """What it takes to ask what is missing, by the length of the texts."""
    likely = [judge.likely(comparison) for comparison in missing]
    together = Tokens(sum(each.prompt for each in likely), sum(each.reply for each in likely))
    return Forecast(len(missing), known, together.total, price.of(together))
