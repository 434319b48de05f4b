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


def fitting(prompter: Prompter, question: str, category: str, passages: Sequence[str], room: int) -> tuple[list[int], int]:
    """Token ids of the prompt with as many passages as leave it within `room` tokens, the last left out first; and how many.

    Raises UserError for a question that doesn't fit alone.
    """
    for most in range(len(passages), -1, -1):
        prompt = prompter.prompt(user_text(question, passages[:most]), category)
        if len(prompt) <= room:
            return prompt, most
    raise UserError(
        f"The question '{shown(question)}' has {len(prompt)} tokens, and beside the answer there is room for {room}. "
        "Shorten it, lower max_new_tokens, or raise max_seq_length as far as the base model allows."
    )
