"""What happens between two tokens: rows enter, leave, are shared and taken over, in the order that is fair. One turn at a time."""

import asyncio
from collections.abc import Callable

import pytest

from core.config import MergeConfig, ServeConfig
from core.data.prompt import Encoded
from core.models import load
from core.serve.answers import Answers
from core.serve.loaded import Loaded
from core.serve.losses import Losses, Row
from core.serve.making import Making
from core.serve.mixes import Mixes
from core.serve.rows import Ask
from core.serve.stream import Stream


class Desk:
    """Answers whose turns the test takes itself."""

    def __init__(self, tiny_base, side_by_side=32):
        self.mixes = Mixes(str(tiny_base), load.content_hash(tiny_base))
        commands: list[Callable[[], None]] = []
        self.answers = Answers(Making(self.mixes, commands.append), side_by_side)
        self.loaded = Loaded(ServeConfig(base_model=str(tiny_base), device="cpu"))

        self._loop = asyncio.new_event_loop()

    def stream(self, session):
        async def made():
            return Stream(session)

        return self._loop.run_until_complete(made())

    def open(self, session, *asks):
        stream = self.stream(session)
        self.answers.open(stream, asks)
        return stream

    def heard(self, stream):
        """What the stream was told since the last time; None: its end."""
        self._loop.run_until_complete(asyncio.sleep(0))
        return [stream._events.get_nowait() for _ in range(stream._events.qsize())]

    def ask(self, key, mix=None, tokens=50, prompt=(5, 6, 7, 8)):
        return Ask(key, self.mixes.plan(mix), prompt, (), tokens)

    def turn(self):
        self.answers.enter(self.loaded)
        self.answers.step(self.loaded)

    @property
    def under_way(self):
        return [row.ask.key for row in self.loaded.decoding.rows]


def test_losses_of_an_older_request_stop(desk):
    losses = Losses(Making(desk.mixes, lambda _: None))
    rows = [Row.of(category, Encoded([5 + place], [8, 9 + n], False)) for n in range(200) for place, category in enumerate(("one", "two"))]
    older, newer = desk.stream("s"), desk.stream("s")
    losses.open(older, [(desk.mixes.plan(None), rows)])
    losses.turn(desk.loaded)
    losses.open(newer, [(desk.mixes.plan(None), rows[:120])])
    *tallies, end, closed = desk.heard(older)
    assert end == {"done": "superseded"} and closed is None
    done = {event["category"]: event["done_rows"] for event in tallies}
    assert set(done) == {"one", "two"} and 0 < sum(done.values()) < 400
    known = {event["category"]: event["done_rows"] for event in desk.heard(newer)}
    assert known == done, "what is known is told at once"
    while losses.waiting:
        losses.turn(desk.loaded)
    *_, end, closed = desk.heard(newer)
    assert end == {"done": "all"} and closed is None


def test_a_merge_that_nobody_waits_for_is_broken_off(desk, adapters):
    adapters("x", 1), adapters("y", 2)
    plan = desk.mixes.plan(MergeConfig(adapters=("x", "y"), strategy="ties", density=0.5))

    class Leaves:
        """Waits for some layers, then hangs up."""

        heard: list[float] = []
        wanted = property(lambda self: len(self.heard) < 3)
        use = refuse = None

        def tell(self, merging):
            self.heard.append(merging)

    making = Making(desk.mixes, lambda _: pytest.fail("nobody waits for it"))
    making.make(plan, Leaves())
    making._pool.shutdown()
    assert Leaves.heard == [0.0, 0.25, 0.5]
    assert desk.mixes.made(plan) is None


@pytest.fixture
def desk(tiny_base):
    return Desk(tiny_base)


def test_superseded_within_one_token(desk):
    older = desk.open("s", desk.ask("old"))
    for _ in range(3):
        desk.turn()
    newer = desk.open("s", desk.ask("new", prompt=(9, 10)))
    *_, end, closed = desk.heard(older)
    assert end == {"key": "old", "done": "superseded", "tokens": 4} and closed is None
    desk.turn()
    assert desk.under_way == ["new"]
    assert any(event["key"] == "new" and "text" in event for event in desk.heard(newer))


def test_a_row_that_is_asked_for_again_goes_on(desk):
    older = desk.open("s", desk.ask("base", tokens=12), desk.ask("other", prompt=(9, 10), tokens=12))
    for _ in range(4):
        desk.turn()
    before = "".join(event.get("text", "") for event in desk.heard(older) if event["key"] == "base")
    newer = desk.open("s", desk.ask("base", tokens=12))
    assert (desk.heard(older))[-2:] == [{"key": "other", "done": "superseded", "tokens": 5}, None]
    assert (desk.heard(newer))[0] == {"key": "base", "text": before}
    for _ in range(7):
        desk.turn()
    *_, last, closed = desk.heard(newer)
    assert last == {"key": "base", "done": "length", "tokens": 12} and closed is None
    assert not desk.answers.rows and not desk.under_way


def test_one_row_serves_two_sessions_until_both_are_gone(desk):
    one, two = desk.open("one", desk.ask("a")), desk.open("two", desk.ask("b"))
    desk.turn()
    assert desk.under_way == ["a"]
    texts = ["".join(event["text"] for event in desk.heard(stream)) for stream in (one, two)]
    assert texts[0] == texts[1] != ""
    desk.answers.drop(one)
    desk.turn()
    assert desk.under_way == ["a"]
    desk.answers.drop(two)
    desk.turn()
    assert desk.under_way == [] and not desk.answers.waiting


def test_places_go_to_the_session_with_the_fewest(tiny_base):
    desk = Desk(tiny_base, side_by_side=3)
    desk.open("greedy", *[desk.ask(f"g{n}", prompt=(9, 10 + n)) for n in range(6)])
    desk.open("modest", desk.ask("m"))
    desk.turn()
    assert desk.under_way == ["g0", "m", "g1"]


def test_a_weight_change_keeps_the_bank_and_a_new_adapter_joins_it(desk, adapters):
    adapters("x", 1), adapters("y", 2)
    desk.open("s", desk.ask("mix", MergeConfig(adapters=("x", "y"), weights=(0.5, 0.5))))
    desk.turn()
    bank = desk.loaded._bank
    desk.open("s", desk.ask("mix", MergeConfig(adapters=("x", "y"), weights=(0.7, -1))))
    desk.turn()
    assert desk.loaded._bank is bank
    adapters("z", 3)
    desk.open("t", desk.ask("own", MergeConfig(adapters=("z",))))
    desk.turn()
    assert desk.loaded._bank is not bank and len(desk.loaded._bank.names) == 3
    hooks = [len(module._forward_hooks) for module in desk.loaded.base.model.modules() if module._forward_hooks]
    assert set(hooks) == {1}, "the older bank is off the model"


def test_adapters_that_nobody_uses_leave_the_bank_when_it_gets_too_wide(desk, adapters):
    for seed in range(5):
        adapters(f"a{seed}", seed, r=60)
        desk.open("s", desk.ask("own", MergeConfig(adapters=(f"a{seed}",)), tokens=4))
        for _ in range(3):
            desk.turn()
    assert [part.adapter.name for part in desk.loaded._parts.values()] == ["a4", "a3", "a2"]


def test_a_weight_of_0_votes_only_where_peft_is_followed(desk, adapters):
    adapters("x", 1), adapters("y", 2)
    settings = {"adapters": ("x", "y"), "weights": (1, 0), "strategy": "ties", "density": 0.5}
    assert [weight for _, _, weight, _ in desk.mixes.plan(MergeConfig(**settings)).everyone] == [1]
    assert [weight for _, _, weight, _ in desk.mixes.plan(MergeConfig(**settings, space="factor")).everyone] == [1, 0]
    assert desk.mixes.plan(MergeConfig(**{**settings, "weights": (0, 0)}, space="factor")) == desk.mixes.plan(None)
