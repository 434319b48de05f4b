"""All answers under way, and those that are finished. One row serves all requests that ask for the same answer."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from torch import Tensor

from core.models.choosing import choose
from core.serve.loaded import Loaded
from core.serve.making import Making
from core.serve.mixes import NO_NUMBERS, Mix
from core.serve.pace import Pace
from core.serve.rows import Answer, Ask, Row, words
from core.serve.stream import Stream
from core.serve.token_scores import scores

KEPT_ANSWERS, KEPT_SCORES = 4096, 100_000
"""Finished answers that are remembered, and the log-probabilities in all of them together."""
PROMPT_TOKENS = {"cpu": 512, "mps": 2048, "cuda": 16384}
"""Prompt tokens that are read in one turn."""


class Answers:
    """All rows, and the answers that are finished. Lives in the model's thread."""

    def __init__(self, making: Making, side_by_side: int) -> None:
        self.rows: dict[Hashable, Row] = {}
        self.pace = Pace()
        self._making, self._side_by_side = making, side_by_side
        self._streams: dict[str, Stream] = {}
        """The newest of each session."""
        self._finished: OrderedDict[Hashable, Answer] = OrderedDict()
        self._scores_kept = 0

    @property
    def waiting(self) -> bool:
        """Whether a turn would do anything."""
        return any(row.mix is not None for row in self.rows.values())

    def open(self, stream: Stream, asks: Sequence[Ask]) -> None:
        """Answer all of `asks`; what the session asked before is superseded, but rows that it asks for again go on."""
        older = self._streams.get(stream.session)
        self._streams[stream.session] = stream
        for ask in asks:
            if ask.full:
                stream.tell(key=ask.key, done="length", tokens=len(ask.said))
            elif ask.identity in self._finished:
                self._finished.move_to_end(ask.identity)
                self._tell_finished(stream, ask)
            elif ask.identity in self.rows:
                self.rows[ask.identity].listen(stream, ask.key)
            else:
                row = self.rows[ask.identity] = Row(ask, self)
                row.listen(stream, ask.key)
                self._making.make(ask.plan, row)
        if older:
            self.drop(older, "superseded")
        self._end_served([stream])

    def drop(self, stream: Stream, why: str | None = None) -> None:
        """Take a stream off all rows. Rows that nobody listens to leave before the next token."""
        for identity, row in list(self.rows.items()):
            for each in [each for each in row.listeners if each[0] is stream]:
                row.listeners.remove(each)
                if why:
                    stream.tell(key=each[1], done=why, tokens=row.length)
            if not row.listeners:
                del self.rows[identity]
        self._end_served([stream])

    def fail(self, why: str) -> None:
        """Tell everybody, and forget all rows."""
        streams = {stream for row in self.rows.values() for stream, _ in row.listeners} | set(self._streams.values())
        self.rows.clear()
        for stream in streams:
            stream.tell(error=why)
        self._end_served(streams)

    def end_row(self, row: Row, **event: Any) -> None:
        """The row's last event. It leaves before the next token."""
        if self.rows.get(row.ask.identity) is row:
            del self.rows[row.ask.identity]
            row.tell(**event)
            self._end_served([stream for stream, _ in row.listeners])

    def enter(self, loaded: Loaded) -> None:
        """Let new rows in, and give them their first token."""
        decoding = loaded.decoding
        self._let_go(loaded)
        rows = self._fitting(loaded, self._entering(decoding.rows, PROMPT_TOKENS[loaded.base.device.type]))
        if rows:
            kinds = [row.ask.plan.identity for row in rows]
            logits = decoding.enter(rows, [row.prefix for row in rows], lambda some: loaded.mixing(_mixes(some)), kinds)
            self._choose(loaded, rows, logits)

    def step(self, loaded: Loaded) -> None:
        """Take all rows under way one token further."""
        decoding = loaded.decoding
        self._let_go(loaded)
        if decoding.rows:
            logits = decoding.step([row.tokens[-1] for row in decoding.rows], loaded.mixing(_mixes(decoding.rows)))
            self._choose(loaded, decoding.rows, logits)

    def _let_go(self, loaded: Loaded) -> None:
        """Rows that nobody wants any more leave."""
        loaded.decoding.leave([row for row in loaded.decoding.rows if self.rows.get(row.ask.identity) is not row])

    def _choose(self, loaded: Loaded, rows: Sequence[Row], logits: Tensor) -> None:
        """The next token of each row; rows that it finishes leave, and those whose logits are no numbers."""
        finished = []
        self.pace.add(len(rows))
        sound = logits.amax(-1).isfinite()  # NaN counts as the largest
        tokens = choose(logits, [row.ask.sampling for row in rows], [row.die for row in rows])
        found = scores(logits, tokens, [row.ask.top_scores for row in rows])
        for row, token, score, is_sound in zip(rows, tokens, found, sound.tolist(), strict=True):
            if not is_sound:
                finished.append(row)
                row.refuse(NO_NUMBERS)
                continue
            answer = row.choose(token, score, loaded)
            if answer:
                finished.append(row)
                self._remember(row.ask.identity, answer)
                self.end_row(row, done=answer.finish, tokens=answer.tokens)
        loaded.decoding.leave(finished)

    def _entering(self, under_way: Sequence[Row], tokens: int) -> list[Row]:
        """Rows for the free places: always of the session with the fewest rows, up to this many prompt tokens."""
        waiting = [row for row in self.rows.values() if row.mix is not None and row not in under_way]
        chosen: list[Row] = []
        while waiting and len(under_way) + len(chosen) < self._side_by_side:
            places = [stream.session for row in [*under_way, *chosen] for stream, _ in row.listeners]
            row = min(waiting, key=lambda row: min(places.count(stream.session) for stream, _ in row.listeners))
            tokens -= len(row.prefix)
            if chosen and tokens < 0:
                break
            waiting.remove(row)
            chosen.append(row)
        return chosen

    def _fitting(self, loaded: Loaded, rows: list[Row]) -> list[Row]:
        """Those whose adapters fit the base model; the others are told why not."""
        fitting = []
        for row in rows:
            why = loaded.misfit(_mixes([row])[0])
            if why:
                row.refuse(why)
            else:
                fitting.append(row)
        return fitting

    def _tell_finished(self, stream: Stream, ask: Ask) -> None:
        answer = self._finished[ask.identity]
        if answer.text or answer.scores:
            stream.tell(key=ask.key, **words(answer.text, answer.scores))
        stream.tell(key=ask.key, done=answer.finish, tokens=answer.tokens)

    def _remember(self, identity: Hashable, answer: Answer) -> None:
        self._scores_kept += answer.score_count - (self._finished.pop(identity).score_count if identity in self._finished else 0)
        self._finished[identity] = answer
        while len(self._finished) > KEPT_ANSWERS or (self._scores_kept > KEPT_SCORES and len(self._finished) > 1):
            self._scores_kept -= self._finished.popitem(last=False)[1].score_count

    def _end_served(self, streams: Iterable[Stream]) -> None:
        """End the streams to which no row has more to tell."""
        listening = {stream for row in self.rows.values() for stream, _ in row.listeners}
        for stream in set(streams) - listening:
            stream.end()
            if self._streams.get(stream.session) is stream:
                del self._streams[stream.session]


def _mixes(rows: Sequence[Row]) -> list[Mix]:
    return [row.mix for row in rows if row.mix is not None]
