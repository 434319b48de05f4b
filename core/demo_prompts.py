"""Questions to show models with: five about general matters, and for each category some that no adapter was trained on."""

from core.config import DataConfig
from core.data.read import read

GENERAL = (
    "What is the capital of France?",
    "Explain in two sentences how rain forms.",
    "Write a short note that thanks a teacher.",
    "List three uses of a paper clip.",
    "A train leaves at 3 pm and arrives at 5:30 pm. How long does the journey take?",
)
"""What any chat model should manage, before and after training."""
PER_CATEGORY = 6


def by_category(data: str, most: int = PER_CATEGORY) -> dict[str, list[str]]:
    """The first validation questions of each category, then test questions, up to `most`. Raises UserError where the data can't be read."""
    dataset = read(DataConfig(data=data))
    rows = [*dataset.select("validation", limit=most), *dataset.select("test", limit=most)]
    found: dict[str, dict[str, None]] = {category: {} for category in dataset.categories}
    for row in rows:
        found[row.category][row.question] = None
    return {category: list(questions)[:most] for category, questions in found.items() if questions}
