"""One answer under way: what is asked for, who listens to it, and what has been told."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from core.models.choosing import GREEDY, Sampling
from core.serve.loaded import Loaded
from core.serve.mixes import Mix, Plan
from core.serve.saying import Saying
from core.serve.stream import Event, Stream
from core.serve.token_scores import Score, Telling

if TYPE_CHECKING:
    from core.serve.answers import Answers


@dataclass(frozen=True)
class Ask:
    """One answer that a request wants."""

    key: str
    """How the request names it."""
    plan: Plan
    prompt: tuple[int, ...]
    said: tuple[int, ...]
    """Tokens of the answer that stand already."""
    max_new_tokens: int
    """Of the whole answer."""
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    """Texts that end the answer."""
    verbatim: bool = False
    """Keep blanks at both ends of the answer."""
    top_scores: int | None = None
    """Tell how probable each token was, and this many of the most probable ones at its place. None: don't."""

    @property
    def identity(self) -> Hashable:
        """Asks that have the same answer share it."""
        wanted = (self.max_new_tokens, self.sampling, self.stop, self.verbatim, self.top_scores)
        return self.plan.identity, self.prompt, self.said, *wanted

    @property
    def full(self) -> bool:
        """Whether the answer has all its tokens already."""
        return len(self.said) >= self.max_new_tokens


@dataclass(frozen=True)
class Answer:
    """A finished answer."""

    text: str
    """What came after the tokens that stood already."""
    finish: str
    """stop or length."""
    tokens: int
    """Of the whole answer, without the end token."""
    scores: tuple[Event, ...] = ()
    """How probable its tokens were, where that was asked for."""

    @property
    def score_count(self) -> int:
        """Log-probabilities that it holds."""
        return sum(1 + len(each["top"]) for each in self.scores)


@dataclass(eq=False)
class Row:
    """An answer under way."""

    ask: Ask
    answers: "Answers"
    mix: Mix | None = None
    """None while its temporary adapter is being made."""
    tokens: list[int] = field(default_factory=list)
    """Chosen so far, after those that stood already."""
    saying: Saying = field(init=False)
    telling: Telling = field(default_factory=Telling)
    die: Random = field(init=False)
    listeners: list[tuple[Stream, str]] = field(default_factory=list)
    """Who hears of it, and under which key."""

    def __post_init__(self) -> None:
        self.saying = Saying(self.ask.said, self.ask.stop, self.ask.verbatim)
        self.die = Random(self.ask.sampling.seed % 2**64)  # Random takes -1 for 1

    @property
    def prefix(self) -> list[int]:
        """What the model reads first."""
        return [*self.ask.prompt, *self.ask.said]

    @property
    def length(self) -> int:
        """Tokens of the whole answer so far."""
        return len(self.ask.said) + len(self.tokens)

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self.listeners)

    def listen(self, stream: Stream, key: str) -> None:
        """From now on `stream` hears of the row; what was told before comes first."""
        self.listeners.append((stream, key))
        if self.saying.text or self.telling.told:
            stream.tell(key=key, **words(self.saying.text, self.telling.told))

    def tell(self, **event: Any) -> None:
        """Tell all listeners."""
        for stream, key in list(self.listeners):
            stream.tell(key=key, **event)

    def use(self, mix: Mix) -> None:
        """The mix that answers; the row may enter."""
        self.mix = mix

    def refuse(self, why: str) -> None:
        """This row can't be answered."""
        self.answers.end_row(self, error=why)

    def choose(self, token: int, score: Score | None, loaded: Loaded) -> Answer | None:
        """Add a token and tell what is new. Returns the answer when this finished it."""
        ended = token in loaded.ends
        if not ended:
            self.tokens.append(token)
            if score:
                self.telling.add(score)
        full = self.length >= self.ask.max_new_tokens
        new, stopped = self.saying.grow(loaded.base.tokenizer, self.tokens, final=ended or full)
        scores = self.telling.up_to(self.saying.text, loaded.spelling, ended or full, stopped)
        if new or scores:
            self.tell(**words(new, scores))
        finish = "stop" if ended or stopped else "length" if full else None
        return Answer(self.saying.text, finish, self.length, tuple(self.telling.told)) if finish else None


def words(text: str, scores: Sequence[Event]) -> Event:
    """The event of new words."""
    return {"text": text, "scores": list(scores)} if scores else {"text": text}
