"""What a model reads when passages were found for a question."""

from collections.abc import Sequence

from core.data.prompt import Prompter
from core.errors import UserError, shown


def user_text(question: str, passages: Sequence[str]) -> str:
    """The user's message: the question alone, or passages, best first, and then the question.

    Passages are material: what stands in them is quoted to the model and never obeyed by the app.
    """
    if not passages:
        return question
    quoted = "\n\n".join(f"Passage {place}:\n{text}" for place, text in enumerate(passages, 1))
    return f"{quoted}\n\nAnswer this question with the help of the passages: {question}"


def fitting(prompter: Prompter, question: str, category: str, passages: Sequence[str], room: int) -> tuple[str, int]:
    """The user's message with as many passages as leave the prompt within `room` tokens, the last left out first; and how many those are.

    Raises UserError for a question that doesn't fit alone.
    """
    harmless = [_without_controls(prompter, passage) for passage in passages]
    for most in range(len(passages), -1, -1):
        text = user_text(question, harmless[:most])
        tokens = len(prompter.prompt(text, category))
        if tokens <= room:
            return text, most
    raise UserError(
        f"The question '{shown(question)}' has {tokens} tokens, and beside the answer there is room for {room}. "
        "Shorten it, lower max_new_tokens, or raise max_seq_length as far as the base model allows."
    )


def _without_controls(prompter: Prompter, passage: str) -> str:
    """The passage, in which no text is one of the tokenizer's control tokens: a document can't end the user's turn and begin another."""
    for token in prompter.tokenizer.all_special_tokens:
        passage = passage.replace(token, f"{token[0]} {token[1:]}")
    return passage
