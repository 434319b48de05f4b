"""A page with a large table, driven by a visitor: what verdicts.py and answers.py share.

The real app is started on a home that was made for it, and visited by a client that speaks its protocol and draws nothing, so that no
browser takes the server's processor. The first visit makes the table ready, which is said apart; then the page is opened, filtered,
searched, sorted and turned --rounds times. For each kind of change: how long the script ran on the server (median, 95th percentile,
longest; and the processor's time in all threads meanwhile, which a busy machine changes less), what came over the websocket, and what the
server holds in memory (resident, DuckDB's part included).
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from streamlit.proto.WidgetStates_pb2 import WidgetState

from core import paths, runs
from tests.pages.browsing import App, free_port
from tests.pages.visitor import Seen, Visitor, turned, typed

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
    """What a change is called -> the key of its selectbox and what is chosen there, one after the other."""
    order: str
    """The key of the selectbox that sorts."""
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
    """What a server did: how long each of its scripts ran, and what it held at most."""

    def __init__(self, process: psutil.Process, log: Path) -> None:
        self.process, self.log = process, log
        self.most = 0
        self.ended = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self.ended.wait(0.05):
            self.most = max(self.most, self.process.memory_info().rss)

    def scripts(self, more_than: int = -1) -> list[tuple[float, float]]:
        """Milliseconds of each script so far, and of the processor meanwhile; waited for until there are more than so many."""
        while True:
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            if len(lines) > more_than:
                return [(1000 * float(seconds), 1000 * float(computed)) for seconds, computed in map(str.split, lines)]
            time.sleep(0.02)


class Use:
    """A person's visits, each change of the page measured."""

    def __init__(self, table: Table, address: str, watch: Watch) -> None:
        self.table, self.address, self.watch = table, address, watch
        self.times: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.sizes: dict[str, list[int]] = defaultdict(list)

    def open(self, name: str, **query: str) -> None:
        """A session of its own."""
        self.visitor = Visitor.of(self.address)
        self.page = self._measured(name, query=query)

    def close(self) -> None:
        """The session ends."""
        self.visitor.socket.close()

    def change(self, name: str, key: str, state: Callable[..., WidgetState], value: object) -> None:
        """Another value of a widget; its part of the page, or all of it, runs again."""
        widget = self.page.widget(key)
        seen = self._measured(name, [state(widget, value)], self.page.fragment(widget))
        self.last = max((element.num_pages for kind, element in seen.elements() if kind == "pagination"), default=1)

    def _measured(self, name: str, states: Sequence[WidgetState] = (), fragment: str = "", query: Mapping[str, str] | None = None) -> Seen:
        before = len(self.watch.scripts())
        seen = self.visitor.open(self.table.page, states, fragment, **(query or {}))
        assert not any(kind == "exception" for kind, _ in seen.elements()), seen.text
        self.times[name].append(max(self.watch.scripts(before)[before:]))
        self.sizes[name].append(seen.size)
        return seen


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
    try:
        address = app.wait()
        watch = Watch(psutil.Process(app.process.pid), log)
        first, first_memory = made_ready(table, address, watch)
        use = Use(table, address, watch)
        for _ in range(rounds):
            use.open("open")
            everything(use)
            use.close()
            use.open("open in the middle", **table.middle)
            use.close()
        watch.ended.set()
    finally:
        app.end()
    changes = {name: figures(use.times[name], use.sizes[name]) for name in use.times}
    return {"ready_seconds": first, "ready_memory": first_memory, "memory": watch.most, "load": os.getloadavg()[0], "changes": changes}


def made_ready(table: Table, address: str, watch: Watch) -> tuple[float, int]:
    """Seconds of the first visits, until the page is whole, and what the server held at most."""
    began = time.perf_counter()
    while True:
        visitor, before = Visitor.of(address), len(watch.scripts())
        seen = visitor.open(table.page)
        watch.scripts(before)  # its line in the log is no other visit's
        visitor.socket.close()
        if any("-contains" in widget for widget in seen.widgets):
            return time.perf_counter() - began, watch.most
        time.sleep(1)


def everything(use: Use) -> None:
    """Every filter, sort and search, and some pages."""
    for name, (key, options) in use.table.changes.items():
        for option in options:
            use.change(name, key, typed, option)
    shown = "file"
    for order in use.table.orders:
        if order != shown:
            use.change("sort", use.table.order, typed, order)
        shown = order
        for number in (2, 3, use.last):
            use.change("page", "page", turned, number)
    for text in (*SEARCHES, ""):
        use.change("search", "contains", typed, text)


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
