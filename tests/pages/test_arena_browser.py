"""The arena in a real headless Chromium: five reviewers at once, their keys, and no model's name in anything that the browser gets."""

import asyncio
import csv
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core import results, runs
from core.config import ArenaConfig
from core.judge import arena
from core.results import Vote
from core.workspace import Workspace
from tests.pages.browsing import CHROMIUM, FLAGS, MARKS, PATIENCE_MS, App

pytestmark = MARKS
playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed: pip install playwright")

BASE, TUNED, THIRD = "Quagga-7B-base", "okapi_tuned", "numbat"
NAMES = (BASE, TUNED, THIRD, "Wombat-1.5B")
"""Names of models: Wombat-1.5B is the folder that the base comes from."""
QUESTIONS = 4
REVIEWERS = ("Ada", "Bo", "Chen", "Dara", "Ève")
KEYS = {"1": "left", "2": "right", "0": "tie", "s": "skip"}


@dataclass
class Server:
    """The app, and its only round."""

    address: str
    round: str
    home: Path

    def link(self, reviewer: str = "") -> str:
        """The arena's page as a reviewer opens it."""
        return f"{self.address}/arena?round={self.round}" + (f"&reviewer={reviewer}" if reviewer else "")

    def rows(self, reviewer: str) -> list[dict[str, str]]:
        """A reviewer's rows of votes.csv."""
        file = self.home / "results" / self.round / "votes.csv"
        with file.open(encoding="utf-8", newline="") as opened:
            return [row for row in csv.DictReader(opened) if row["reviewer"] == reviewer]


@dataclass
class Seen:
    """A reviewer's page, and all that the server sent to it."""

    page: Any
    sent: list[bytes] = field(default_factory=list)

    async def done(self) -> int:
        """How many pairs the page says this reviewer has voted on."""
        return int((await self.page.locator("[data-part=progress]").inner_text()).split(" of ")[0])

    async def shows(self, done: int) -> None:
        """Wait until the page says so, and asks the next question or gives thanks."""
        said = f"[data-part=progress]:has-text('{done} of '), [data-testid=stAlert]:has-text('all {done} pairs')"
        await self.page.wait_for_selector(said, timeout=PATIENCE_MS)

    async def press(self, key: str) -> None:
        """Press a key and wait until its vote is counted."""
        done = await self.done()
        await self.page.keyboard.press(key)
        await self.shows(done + 1)

    async def source(self) -> str:
        """The page's source as it is now, and everything that came over the wire so far."""
        return await self.page.content() + "".join(part.decode("utf-8", "replace") for part in self.sent)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on one round whose answers betray who wrote them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", str(home))
        opened = open_round(home / "answers")
        app = App.start()
    yield Server(app.wait(), opened, home)
    app.end()


def open_round(folder: Path) -> str:
    """A finished run of the verb, and a training under way on the base, whose progress names a model."""
    folder.mkdir()
    told = {BASE: "As Wombat-1.5B-Instruct I say", TUNED: "Okapi tuned here:", THIRD: "numbat says"}
    rows = [
        results.Answer("r", model, "animals", f"Question {n}, of {TUNED}?", f"reference {n}", f"{told[model]} answer {n}", 1.0, 2, "stop")
        for model in told
        for n in range(QUESTIONS)
    ]
    results.write(folder / "answers.csv", rows, results.Answer)
    models = [
        results.Model(BASE, "base", "", "models/Wombat-1.5B", "0"),
        results.Model(TUNED, "own", "animals", f"adapters/{TUNED}", "0"),
        results.Model(THIRD, "own", "animals", f"adapters/{THIRD}", "0"),
    ]
    results.write(folder / "models.csv", models, results.Model)
    config = ArenaConfig(answers=str(folder), base=BASE)
    run = runs.create("arena", config.model_dump(mode="json"))
    outputs = arena.run(config, Workspace(run))
    runs.update(run.run_id, status="done", outputs=outputs)
    runs.update(runs.create("train", {"base_model": "models/Wombat-1.5B"}).run_id, status="failed", error=f"{TUNED} is too big")
    return run.run_id


def drive(work: Callable[[Callable[..., Any]], Awaitable[None]]) -> None:
    """Run `work(open_page)` with a browser of its own; open_page(link) is a context with a `Seen` in it."""

    async def all_of_it() -> None:
        async with playwright.async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)

            @asynccontextmanager
            async def open_page(link: str, ready: str = ".arena-sheet", width: int = 1440) -> AsyncIterator[Seen]:
                context = await browser.new_context(viewport={"width": width, "height": 900})
                seen = Seen(await context.new_page())
                heard = lambda part: seen.sent.append(part if isinstance(part, bytes) else part.encode())  # noqa: E731
                seen.page.on("websocket", lambda wire: wire.on("framereceived", heard))
                await seen.page.goto(link, timeout=PATIENCE_MS)
                await seen.page.wait_for_selector(ready, timeout=PATIENCE_MS)
                yield seen
                await context.close()

            await work(open_page)
            await browser.close()

    asyncio.run(all_of_it())


def test_five_reviewers_at_once_lose_and_double_no_vote_and_read_no_name(server: Server) -> None:
    total = len(arena_pairs(server))

    async def review(open_page: Callable[..., Any], name: str, place: int) -> None:
        async with open_page(server.link(name)) as seen:
            for turn in range(total):
                await seen.press("120"[(turn + place) % 3])
            await seen.page.wait_for_selector("text=Thank you", timeout=PATIENCE_MS)
            source = (await seen.source()).lower()
            for told in NAMES:
                assert told.lower() not in source, f"{name} could read {told}"
            assert "[model] says answer" in source and "answer 3" in source, "the texts themselves are there"

    async def work(open_page: Callable[..., Any]) -> None:
        await asyncio.gather(*(review(open_page, name, place) for place, name in enumerate(REVIEWERS)))

    drive(work)
    for place, name in enumerate(REVIEWERS):
        rows = server.rows(name)
        assert [row["choice"] for row in rows] == [KEYS["120"[(turn + place) % 3]] for turn in range(total)]
        assert [row["pair"] for row in rows] == arena_pairs(server)
        for row in rows:
            assert row["left"] == arena.left_of(server.round, name, row["pair"])
    sides = Counter(row["left"] for name in REVIEWERS for row in server.rows(name))
    assert min(sides.values()) > 8, sides


def arena_pairs(server: Server) -> list[str]:
    return list(results.read(server.home / "results" / server.round / "pairs.csv", results.ArenaPair)["pair"])


def test_keys_a_reason_an_undo_and_a_name_that_is_typed(server: Server) -> None:
    async def work(open_page: Callable[..., Any]) -> None:
        async with open_page(server.link(), ready="text=Your name") as seen:
            page = seen.page
            await page.get_by_role("textbox", name="Your name").fill("Flo")
            await page.keyboard.press("Enter")
            await page.wait_for_selector(".arena-sheet", timeout=PATIENCE_MS)
            assert "reviewer=Flo" in page.url
            await page.get_by_role("textbox", name="Reason").fill("shorter, 2 words; s1")
            await page.keyboard.press("Enter")
            await page.wait_for_function("document.activeElement.tagName !== 'INPUT'")
            await seen.press("s")
            await page.get_by_role("button", name="Undo").click()
            await seen.shows(0)
            for key in "120":
                await seen.press(key)

    drive(work)
    rows = server.rows("Flo")
    assert [row["choice"] for row in rows] == ["skip", "undo", "left", "right", "tie"]
    assert rows[0]["reason"] == "shorter, 2 words; s1" and rows[0]["pair"] == rows[1]["pair"] == rows[2]["pair"]
    assert len({row["pair"] for row in rows}) == 3
    other = {"base": "fine-tuned", "candidate": "base"}
    assert rows[2]["verdict"] == ("base" if rows[2]["left"] == "base" else "fine-tuned")
    assert rows[3]["verdict"] == other[rows[3]["left"]] and rows[4]["verdict"] == "tie"


def test_a_key_hit_twice_or_held_votes_once_and_a_phone_has_room(server: Server) -> None:
    async def work(open_page: Callable[..., Any]) -> None:
        async with open_page(server.link("Gus"), width=390) as seen:
            page = seen.page
            await page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 9999)")
            await page.keyboard.down("1")
            for _ in range(30):
                await page.keyboard.down("1")
                await page.wait_for_timeout(30)
            await page.keyboard.up("1")
            await seen.shows(1)
            assert (await page.locator(".arena-sheet").bounding_box())["y"] >= 0, "the next question is in sight"
            wide = "(() => { const m = document.querySelector('[data-testid=stMain]'); return m.scrollWidth - m.clientWidth })()"
            assert await page.evaluate(wide) <= 0
            button = page.get_by_role("button", name="Right")
            await button.dblclick()
            await seen.shows(2)
            await page.wait_for_timeout(500)

    drive(work)
    assert [row["choice"] for row in server.rows("Gus")] == ["left", "right"]


def test_votes_of_the_round_are_one_table(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_HOME", str(server.home))
    votes = arena.votes()
    ours = votes[votes["reviewer"].isin(REVIEWERS)]
    assert len(ours) == len(REVIEWERS) * len(arena_pairs(server)) and not ours.duplicated(["reviewer", "pair"]).any()
    assert set(votes.columns) == {*Vote.columns(), "blind"} and votes["blind"].all()
