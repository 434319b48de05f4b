"""What a model reads when passages were found for a question."""

from collections.abc import Sequence


def user_text(question: str, passages: Sequence[str]) -> str:
    """The user's message: the question alone, or passages, best first, and then the question.

    Passages are material: what stands in them is quoted to the model and never obeyed by the app.
    """
    if not passages:
        return question
    quoted = "\n\n".join(f"Passage {place}:\n{text}" for place, text in enumerate(passages, 1))
    return f"{quoted}\n\nAnswer this question with the help of the passages: {question}"
