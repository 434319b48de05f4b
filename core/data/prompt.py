"""The one place that makes prompts, for training, evaluation and reports: all models see the same tokens.

A row becomes the chat template's prompt and the answer with its end token; only the answer is supervised
(Wolf et al. 2020, transformers' chat templates; prompt and answer are tokenised apart, so the border is exact).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Encoded:
    """Token ids of one row."""

    prompt: list[int]
    answer: list[int]
    """The answer's tokens and the end token; without the end token when the answer was cut."""
    cut: bool
    """The row was longer than max_seq_length."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


class Prompter:
    """Makes token ids of questions and answers for one tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", system_prompt: str | None = None, max_seq_length: int = 512) -> None:
        self.tokenizer = tokenizer
        self.system_prompt = system_prompt
        self.max_seq_length = max_seq_length

    def prompt(self, question: str, category: str) -> list[int]:
        """Token ids of the prompt, up to where the model's answer begins. A prompt is never cut."""
        messages = [{"role": "user", "content": question}]
        if self.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.system_prompt.replace("{category}", category)})
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self._ids(str(text))

    def encode(self, question: str, answer: str, category: str) -> Encoded:
        """Prompt and answer; an answer that does not fit is cut at its end and then has no end token."""
        prompt = self.prompt(question, category)
        end = self.tokenizer.eos_token_id
        if not isinstance(end, int):
            raise UserError(
                "The tokenizer has no end token, so a model could never learn to stop. Use a base model whose tokenizer has one."
            )
        whole = [*self._ids(answer), end]
        room = max(self.max_seq_length - len(prompt), 0)
        return Encoded(prompt, whole[:room], cut=len(whole) > room)

    def encode_all(self, rows: Sequence[tuple[str, str, str]]) -> list[Encoded]:
        """Encode (question, answer, category) rows."""
        return [self.encode(*row) for row in rows]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids
