"""Tables in Markdown, a line of text for each row."""


def head(*cells: str) -> list[str]:
    """The first two lines of a table."""
    return [row(*cells), row(*["---"] * len(cells))]


def row(*cells: str) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"
