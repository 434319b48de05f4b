"""The likelihood of the reference as the judge, offline: which of two answers makes the reference less surprising to a language model?

An answer's score is the mean log-probability of the reference's tokens after question and answer, in nats a token: the recall direction of
BARTScore (Yuan, Neubig and Liu 2021, arXiv:2106.11520), by a causal model. An answer does not change by being shown second,
so both orders agree by construction: its flips are 0 and prove nothing.
"""

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from core.config import JudgeConfig
from core.judge.backend import Backend, Choice, Comparison, OnRetry, Reading, Reply
from core.judge.reading import leading_word

if TYPE_CHECKING:
    from core.data.prompt import Prompter
    from core.models.load import BaseModel

TIE_MARGIN = 0.02
"""Two answers whose mean log-probabilities of the reference differ by less are a tie."""
LONGEST = 4096
"""Tokens of question, answer and reference together; a reference that goes beyond is cut."""
TEXT = "{question}\n\nDraft answer: {answer}\n\nGive the final answer."


class Perplexity(Backend):
    """A baseline for real judges. `judge_model` may name another base model than the bundled one: a folder or a hub id."""

    weights = True
    at_once = 1

    def __init__(self, config: JudgeConfig, model: str | None, on_retry: OnRetry) -> None:
        """Nothing is loaded yet."""
        self._wanted = model or "bundled"
        self._loaded: tuple[BaseModel, Prompter] | None = None
        self._known: dict[tuple[str, str, str], float] = {}
        self._lock = threading.Lock()
        shown = "SmolLM2-135M-Instruct" if self._wanted == "bundled" else self._wanted
        self.name = f"perplexity of the reference (no prompt), {shown}"

    def identity(self, comparison: Comparison) -> list[Any]:
        """The weights, the margin and the texts. Raises UserError when there is no such model."""
        texts = [comparison.question, comparison.reference, comparison.a, comparison.b]
        return ["perplexity", self._content, TIE_MARGIN, TEXT, LONGEST, *texts]

    @cached_property
    def _content(self) -> str:
        from core.models import load

        return load.content_hash(load.resolve(self._wanted))

    def open(self) -> None:
        """Load the model, in fp32 on the CPU."""
        from core.data.prompt import Prompter
        from core.models import load

        base = load.load(self._wanted, precision="fp32", device="cpu")
        self._loaded = base, Prompter(base.tokenizer, max_seq_length=LONGEST)

    def ask(self, comparison: Comparison) -> Reply:
        """The answer after which the reference is likelier, or a tie below the margin; the reply's text shows both figures."""
        with self._lock:
            a, b = (self._likelihood(comparison.question, answer, comparison.reference) for answer in (comparison.a, comparison.b))
        choice: Choice = "tie" if abs(a - b) < TIE_MARGIN else "A" if a > b else "B"
        return Reply(
            f"{choice} (mean log-probability of the reference: A {a:.3f}, B {b:.3f} nats a token; a tie below {TIE_MARGIN}). "
            "A likelihood, not a judge who reads: both orders are the same by construction."
        )

    def read(self, reply: Reply) -> Reading:
        """The word that the reply begins with."""
        return leading_word(reply.text)

    def close(self) -> None:
        """Drop the weights."""
        self._loaded = None
        self._known.clear()

    def _likelihood(self, question: str, answer: str, reference: str) -> float:
        from core.models.loss import row_losses

        assert self._loaded, "opened before it is asked"
        key = (question, answer, reference)
        if key not in self._known:
            base, prompter = self._loaded
            row = prompter.encode(TEXT.format(question=question, answer=answer), reference, "")
            self._known[key] = -row_losses(base, [row])[0] / len(row.answer)
        return self._known[key]
