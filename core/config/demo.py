"""The demo."""

from core.config.fields import Config, Seed


class DemoConfig(Config):
    """The whole road on the seven schools, small enough for a laptop: train, merge, evaluate, judge."""

    seed: Seed = 0
    """Seed of the run."""
    name: str = "demo"
    """What the demo's adapters and merges start with."""
