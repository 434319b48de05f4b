"""The one place that makes prompts, for training, evaluation and reports: all models see the same tokens.

A row becomes the chat template's prompt and the answer with its end token; only the answer is supervised
(Wolf et al. 2020, transformers' chat templates; prompt and answer are tokenised apart, so the border is exact).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FALLBACK_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}### Instruction:\n{{ message['content'] }}\n\n"
    "{% elif message['role'] == 'assistant' %}### Response:\n{{ message['content'] }}{{ eos_token }}\n\n"
    "{% else %}{{ message['content'] }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}### Response:\n{% endif %}"
)
"""The prompt of Stanford Alpaca (github.com/tatsu-lab/stanford_alpaca), for tokenizers that bring no chat template."""

_PROBE = "Is this said?"
"""A system message that shows whether a template passes such messages on."""


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

    @cached_property
    def identity(self) -> str:
        """What decides the tokens of every row, in one word."""
        tokenizer = self.tokenizer
        words = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else repr(sorted(tokenizer.get_vocab().items()))
        decides = [type(tokenizer).__name__, words, tokenizer.chat_template, tokenizer.eos_token_id, self.system_prompt, self.max_seq_length]
        return hashlib.sha256(repr(decides).encode()).hexdigest()

    def notes(self) -> list[str]:
        """What a person should know about the prompts, in sentences: where they are not the model's own."""
        name, found = Path(self.tokenizer.name_or_path).name, []
        if str(self.tokenizer.chat_template).endswith(FALLBACK_TEMPLATE):
            found.append(f"{name} brings no chat template, so prompts follow Alpaca's: ### Instruction: ... ### Response: ...")
        if self.system_prompt is not None and not self._takes_system:
            found.append(f"{name}'s chat template takes no system message, so the system prompt opens each question.")
        return found

    def prompt(self, question: str, category: str) -> list[int]:
        """Token ids of the prompt, up to where the model's answer begins. A prompt is never cut."""
        return self._ids(self._texts([(question, "", category)]))[0]

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a conversation ({role: system, user or assistant, content}), up to where the model's answer begins.

        Where the template takes no system message, it opens the first message of the user. Raises UserError for turns that it refuses.
        """
        from jinja2 import TemplateError

        try:
            return self._ids([self._rendered(self._without_system(messages))])[0]
        except TemplateError as error:
            raise UserError(
                f"The base model's chat template refuses these messages ({str(error).rstrip('.')}). "
                "Let user and assistant take turns, the user first and last."
            ) from None

    def encode(self, question: str, answer: str, category: str) -> Encoded:
        """Prompt and answer; an answer that does not fit is cut at its end and then has no end token."""
        return self.encode_all([(question, answer, category)])[0]

    def encode_all(self, rows: Sequence[tuple[str, str, str]]) -> list[Encoded]:
        """Encode (question, answer, category) rows, all of them in two calls of the tokenizer."""
        prompts = self._ids(self._texts(rows))
        answers = self._ids([answer for _, answer, _ in rows])
        return [self._fit(prompt, [*answer, self.tokenizer.eos_token_id]) for prompt, answer in zip(prompts, answers, strict=True)]

    def lengths(self, rows: Sequence[tuple[str, str, str]]) -> list[tuple[int, int]]:
        """Tokens of each row's prompt, and of its answer with the end token, as if nothing were cut."""
        texts = [*self._texts(rows), *(answer for _, answer, _ in rows)]
        if self.tokenizer.is_fast:
            self._ids(texts[:1])  # leaves the library's tokenizer without padding and cutting, as it is for all other texts
            counts = [len(each) for each in self.tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        else:
            counts = [len(ids) for ids in self._ids(texts)]
        return [(prompt, answer + 1) for prompt, answer in zip(counts[: len(rows)], counts[len(rows) :], strict=True)]

    def _fit(self, prompt: list[int], answer: list[int]) -> Encoded:
        room = max(self.max_seq_length - len(prompt), 0)
        return Encoded(prompt, answer[:room], cut=len(answer) > room)

    def _texts(self, rows: Sequence[tuple[str, str, str]]) -> list[str]:
        """The prompts, rendered."""
        if not rows:
            return []
        chats = [self._messages(question, category) for question, _, category in rows]
        return list(self.tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False))

    def _messages(self, question: str, category: str) -> list[dict[str, str]]:
        if self.system_prompt is None:
            return [{"role": "user", "content": question}]
        system = self.system_prompt.replace("{category}", category)
        if not self._takes_system:
            return [{"role": "user", "content": f"{system}\n\n{question}"}]
        return [{"role": "system", "content": system}, {"role": "user", "content": question}]

    def _without_system(self, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """The messages as the template takes them."""
        found = [dict(message) for message in messages]
        systems = [message["content"] for message in found if message["role"] == "system"]
        if not systems or self._takes_system:
            return found
        turns = [message for message in found if message["role"] != "system"]
        if not turns or turns[0]["role"] != "user":
            return [{"role": "user", "content": "\n\n".join(systems)}, *turns]
        return [{"role": "user", "content": "\n\n".join([*systems, turns[0]["content"]])}, *turns[1:]]

    @cached_property
    def _takes_system(self) -> bool:
        """Whether the chat template passes a system message on; Mistral's and Gemma's raise an error."""
        from jinja2 import TemplateError

        try:
            return _PROBE in self._rendered([{"role": "system", "content": _PROBE}, {"role": "user", "content": "?"}])
        except TemplateError:
            return False

    def _rendered(self, messages: list[dict[str, str]]) -> str:
        return str(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def _ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
        return ids
