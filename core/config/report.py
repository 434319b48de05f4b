"""The evidence bundle."""

from core.config.fields import Config, Names


class ReportConfig(Config):
    """Write what an evaluation and its verdicts say into one file that opens without a server, and a zip of the tables behind it."""

    evaluation: str = "last"
    """Evaluation to tell of: its run id, or 'last'."""
    judged: Names = ()
    """Judge runs to tell of. Empty: all that judged this evaluation's answers."""
    title: str | None = None
    """Headline. Empty: made from the name of the dataset."""
