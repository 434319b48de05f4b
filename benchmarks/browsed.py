"""A page with a large table, driven by a visitor: what verdicts.py and answers.py share.

The real app is started on a home that was made for it, and driven in headless Chromium. The first visit makes the table ready, which is
said apart; then the page is opened, filtered, searched, sorted and turned --rounds times. For each kind of change: how long the script
ran on the server (median, 95th percentile, longest; and the processor's time in all threads meanwhile, which a busy machine changes
less), what came over the websocket, and what the server holds in memory (resident, DuckDB's part included).
Exits 1 where a 95th percentile is above --bound milliseconds, a change sends more than --most-bytes, or the server holds more than
--most-memory. The processor's share counts: keep the machine quiet.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil
from playwright.sync_api import Page, TimeoutError, sync_playwright

from core import paths, runs
from tests.pages.browsing import CHROMIUM, FLAGS, App, free_port

DONE = "[data-testid=stApp][data-test-script-state=notRunning]"
PATIENCE_MS = 120_000
SHORT_MS = 3_000
CATEGORIES = 40
SEARCHES = ("buddha", "of the", "no such words", "without", "question 77", "the", "wisdom of", "é")


@dataclass(frozen=True)
class Table:
    """A page's table, and what a visitor changes of it."""

    page: str
    unit: str
    fill: Callable[[int, int], object]
    """Makes a home with so many rows of so many models."""
    changes: Mapping[str, tuple[str, list[str]]]
    """What a change is called -> the label of its selectbox and what is chosen there, one after the other."""
    order: str
    """The label of the selectbox that sorts."""
    orders: tuple[str, ...]
    """What is chosen there, page by page."""
    middle: Mapping[str, str]
    """A view whose address is opened, sorted; its page is in the middle."""


class Texts:
    """Random words of the sample data."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        with (paths.PROJECT / "data" / "seven_schools.jsonl").open(encoding="utf-8") as file:
            texts = [f"{row['question']} {row['answer']}" for row in map(json.loads, file)]
        self.words = np.array(" ".join(texts).split(), dtype=object)

    def __call__(self, number: int) -> str:
        """So many of them."""
        return " ".join(self.words[self.random.integers(0, len(self.words), number)])


class Watch:
    """What a server did: how long each of its scripts ran, what it sent, what it held at most."""

    def __init__(self, process: psutil.Process, log: Path) -> None:
        self.process, self.log = process, log
        self.sent = self.most = 0
        self.ended = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self.ended.wait(0.05):
            self.most = max(self.most, self.process.memory_info().rss)

    def scripts(self) -> list[tuple[float, float]]:
        """Milliseconds of each script so far, and of the processor meanwhile."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(1000 * float(seconds), 1000 * float(computed)) for seconds, computed in map(str.split, lines)]

    def hear(self, page: Page) -> None:
        """Count what comes over the page's websockets."""
        page.on("websocket", lambda socket: socket.on("framereceived", self._received))

    def _received(self, frame: "str | bytes") -> None:
        self.sent += len(frame)


def settled(page: Page, watch: Watch, before: int) -> None:
    """Wait until a script has run since, and none runs any more."""
    until = time.monotonic() + PATIENCE_MS / 1000
    while len(watch.scripts()) == before:
        page.wait_for_timeout(20)
        if time.monotonic() > until:
            raise AssertionError("no script ran")
    page.wait_for_selector(DONE, timeout=PATIENCE_MS)
    seen = -1
    while seen != (seen := len(watch.scripts())):
        page.wait_for_timeout(250)


def main(table: Table, about: str) -> int:
    """Measure, print, and say whether the bounds are kept."""
    asked = argparse.ArgumentParser(description=f"{about}\n{__doc__}", formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--models", type=int, default=50, help="of how many")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--bound", type=float, default=300, help="milliseconds of a script, 95th percentile")
    asked.add_argument("--most-bytes", type=int, default=1_000_000)
    asked.add_argument("--most-memory", type=int, default=1_500_000_000)
    asked.add_argument("--home", type=Path, help="kept between calls; else a temporary folder")
    asked.add_argument("--json", type=Path, help="where to write the figures")
    words = asked.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LYCEUM_HOME"] = str(words.home or scratch)
        if not runs.listing():
            began = time.perf_counter()
            table.fill(words.rows, words.models)
            print(f"{words.rows:,} {table.unit} written in {time.perf_counter() - began:.0f} s", flush=True)
        found = measured(table, Path(scratch) / "scripts.txt", words.rounds)
    report(found)
    if words.json:
        words.json.write_text(json.dumps(found, indent=1) + "\n")
    late = [name for name, each in found["changes"].items() if each["p95_ms"] > words.bound or each["bytes"] > words.most_bytes]
    return int(bool(late) or found["memory"] > words.most_memory)


def measured(table: Table, log: Path, rounds: int) -> dict:
    """Start the app, make the table ready by a first visit, and do every change so many times."""
    port = free_port()
    command = [
        sys.executable,
        str(Path(__file__).with_name("timed_app.py")),
        str(log),
        "--server.port",
        str(port),
        "--server.headless",
        "true",
    ]
    app = App(
        f"http://127.0.0.1:{port}", subprocess.Popen(command, cwd=paths.PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    )
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    sizes: dict[str, list[int]] = defaultdict(list)
    try:
        address = app.wait()
        watch = Watch(psutil.Process(app.process.pid), log)
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)

            def change(name: str, page: Page, do) -> None:  # type: ignore[no-untyped-def]
                before, watch.sent = len(watch.scripts()), 0
                do()
                settled(page, watch, before)
                times[name].append(max(watch.scripts()[before:]))
                sizes[name].append(watch.sent)

            page = visitor(browser, watch)
            began = time.perf_counter()
            page.goto(f"{address}/{table.page}")
            page.get_by_role("combobox", name="Category").first.wait_for(timeout=10 * PATIENCE_MS)
            settled(page, watch, 0)
            first, first_memory = time.perf_counter() - began, watch.most
            page.close()
            for _ in range(rounds):
                page = visitor(browser, watch)
                change("open", page, lambda page=page: page.goto(f"{address}/{table.page}"))
                use(table, page, change)
                page.close()
                page, middle = visitor(browser, watch), f"{address}/{table.page}?{urlencode(table.middle)}"
                change("open in the middle", page, lambda page=page, middle=middle: page.goto(middle))
                page.close()
        watch.ended.set()
    finally:
        app.end()
    changes = {name: figures(times[name], sizes[name]) for name in times}
    return {"ready_seconds": first, "ready_memory": first_memory, "memory": watch.most, "load": os.getloadavg()[0], "changes": changes}


def visitor(browser, watch: Watch) -> Page:  # type: ignore[no-untyped-def]
    """A session of its own."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    watch.hear(page)
    return page


def use(table: Table, page: Page, change) -> None:  # type: ignore[no-untyped-def]
    """Every filter, search, sort and some pages."""
    for name, (label, options) in table.changes.items():
        for option in options:
            change(name, page, lambda label=label, option=option: pick(page, label, option))
    turn(table, page, change)
    for text in (*SEARCHES, ""):
        change("search", page, lambda text=text: search(page, text))


def pick(page: Page, label: str, option: str) -> None:
    """Choose an option of a selectbox. Filters may fold away, and a list close, while a page is drawn anew: then it is tried again."""
    box = page.get_by_role("combobox", name=label, exact=True).first
    for _ in range(20):
        with suppress(TimeoutError):
            if not box.is_visible():
                page.get_by_text("More filters").first.click(timeout=SHORT_MS)
            box.click(timeout=SHORT_MS)
            box.fill(option)  # a long list shows its beginning alone
            page.get_by_role("option", name=option, exact=True).first.click(timeout=SHORT_MS)
            return
    raise AssertionError(f"{label} never listed {option}")


def turn(table: Table, page: Page, change) -> None:  # type: ignore[no-untyped-def]
    """Pages in the order of the file, and sorted: the next ones, and the last."""
    shown = "file"
    for order in table.orders:
        if order != shown:
            change("sort", page, lambda order=order: pick(page, table.order, order))
        shown = order
        last = page.get_by_test_id("stPaginationPage").last.get_attribute("aria-label")
        for name in ("Page 2", "Page 3", last):
            change("page", page, lambda name=name: page.get_by_role("button", name=name, exact=True).click())


def search(page: Page, text: str) -> None:
    """Type a text to look for."""
    box = page.get_by_role("textbox", name="Contains").first
    box.fill(text)
    box.press("Enter")


def figures(milliseconds: list[tuple[float, float]], sizes: list[int]) -> dict[str, float]:
    """Of one kind of change."""
    took, computed = zip(*milliseconds, strict=True)
    quantiles = [*np.percentile(took, [50, 95, 100]), *np.percentile(computed, [95])]
    names = ("p50_ms", "p95_ms", "most_ms", "p95_cpu_ms")
    return dict(zip(names, map(float, quantiles), strict=True)) | {"bytes": max(sizes), "n": len(sizes)}


def report(found: dict) -> None:
    """Print it."""
    print(f"first visit: {found['ready_seconds']:.1f} s until the table is ready, at most {found['ready_memory'] / 1e6:,.0f} MB resident")
    print(f"{'change':22} {'n':>4} {'p50':>6} {'p95':>6} {'most':>6} {'cpu p95':>6} ms {'most sent':>10} bytes")
    for name, each in found["changes"].items():
        times = " ".join(f"{each[key]:6.0f}" for key in ("p50_ms", "p95_ms", "most_ms", "p95_cpu_ms"))
        print(f"{name:22} {each['n']:4} {times}    {each['bytes']:12,}")
    print(f"resident at most {found['memory'] / 1e6:,.0f} MB; load {found['load']:.1f} on {os.cpu_count()} cores")
