"""Talking to models."""

from typing import Literal

from pydantic import Field

from core.config.fields import Config


class DrawingConfig(Config):
    """How answers are drawn. What is left empty is the preset's, or else the usual."""

    preset: Literal["creative", "deterministic", "longer"] | None = "deterministic"
    """Named settings of how answers are drawn; the fields beside it override them. Empty: the engine's own."""
    temperature: float | None = Field(None, ge=0, le=2)
    """How freely answers are drawn: 0 always takes the most probable token. Empty: the preset's, or else 1."""
    top_p: float | None = Field(None, ge=0.01, le=1)
    """Draw among the most probable tokens that have this share together. Empty: the preset's, or else 1."""
    max_tokens: int | None = Field(None, ge=1, le=8192)
    """Longest answer in tokens. Empty: the preset's, or else 128."""
    seed: int | None = Field(None, ge=0, lt=2**32)
    """The same seed draws the same answer. Empty: the preset's, or else another answer each time."""


class ChatConfig(DrawingConfig):
    """Talk to a model in the terminal, over the engine that keeps it in memory; it is started where none runs."""

    model: str = "base"
    """Who answers: base, an adapter, a merge, a route, or a mix such as mix:law=0.5,cynic=0.5."""
    system_prompt: str | None = "auto"
    """System message; {category} stands for the adapter's category. auto: the one that the adapters were trained with. Empty: none."""
    instruction: str | None = None
    """Answer this alone, and end. Empty: talk, a question a line."""
    demo: bool = False
    """Let base and the model answer demo prompts, one after the other, and end."""
