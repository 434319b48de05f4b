"""A million verdicts in the verdict browser: `python benchmarks/verdicts.py --rows 1000000`.

A home is made with one judged run: --models models against the base on different questions, each answer different, words of the sample
data. The real app is started on it and driven in headless Chromium. The first visit makes the table ready, which is said apart; then the
page is opened, filtered, searched, sorted and turned --rounds times. For each kind of change: how long the script ran on the server
(median, 95th percentile, longest; and the processor's time in all threads meanwhile, which a busy machine changes less), what came over
the websocket, and what the server holds in memory (resident, DuckDB's part included).
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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import psutil
from playwright.sync_api import Page, TimeoutError, sync_playwright

from core import paths, results, runs
from core.results import AuditFigure, Verdict
from tests.pages.browsing import CHROMIUM, FLAGS, App, free_port

DONE = "[data-testid=stApp][data-test-script-state=notRunning]"
PATIENCE_MS = 120_000
SHORT_MS = 3_000
CATEGORIES = 40
CHANGES = {
    "filter by category": ("Category", ["subject-07", "subject-31", "all"]),
    "filter by outcome": ("Verdict", ["win", "loss", "tie", "all"]),
    "filter by orders": ("Orders", ["disagree", "agree", "all"]),
    "filter by candidate": ("Candidate", ["model-03", "model-11", "all"]),
    "filter by length": ("Candidate's length beside the base's", ["longer", "under half", "all"]),
    "filter by people": ("People", ["voted", "all"]),
    "sort": ("Order of rows", ["largest score difference", "smallest score difference", "file"]),
}
SEARCHES = ("buddha", "of the", "no such words", "without", "question 77", "the", "wisdom of", "é")


def verdicts(run_id: str, rows: int, models: int, seed: int = 0) -> Iterator[Verdict]:
    """`models` candidates on each question; what a judge of some bias for the first place would say of them."""
    random = np.random.default_rng(seed)
    with (paths.PROJECT / "data" / "seven_schools.jsonl").open(encoding="utf-8") as file:
        texts = [f"{row['question']} {row['answer']}" for row in map(json.loads, file)]
    words = np.array(" ".join(texts).split(), dtype=object)

    def text(number: int) -> str:
        return " ".join(words[random.integers(0, len(words), number)])

    for question in range(-(-rows // models)):
        asked = f"{text(12)}, question {question}?"
        reference, base, category = text(30), text(35), f"subject-{question % CATEGORIES:02}"
        for model in range(min(models, rows - question * models)):
            first, second = random.choice(["base", "fine-tuned", "tie"], 2, p=[0.4, 0.45, 0.15])
            second = first if random.random() < 0.7 else second
            yield Verdict(
                run=run_id,
                judge="groq openai/gpt-oss-20b",
                prompt="meaning",
                base="base",
                candidate=f"model-{model:02}",
                category=category,
                question=asked,
                reference=reference,
                base_prediction=base,
                candidate_prediction=text(int(random.integers(15, 60))),
                verdict=first if first == second else "tie",
                first_verdict=first,
                second_verdict=second,
                first_reply='{"winner": "A"}',
                second_reply='{"winner": "B"}',
                tokens=int(random.integers(300, 900)),
                seconds=1.25,
                pair=f"{random.integers(0, 2**63):016x}",
            )


def fill(rows: int, models: int) -> Path:
    """A finished run whose verdicts.csv nobody has looked at yet."""
    run = runs.create("audit", {"verdicts": "elsewhere.csv"})
    results.append(run.path / "verdicts.csv", verdicts(run.run_id, rows, models), Verdict)
    figure = AuditFigure(run.run_id, "groq openai/gpt-oss-20b", "flip_rate", 0.2, 0.19, 0.21, rows, "green")
    results.write(run.path / "audit.csv", [figure], AuditFigure)
    outputs = {"judge": figure.judge, "base": "base", "candidate": "the candidates"}
    runs.update(run.run_id, status="done", started_at=runs.now(), finished_at=runs.now(), outputs=outputs)
    return run.path


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


def main() -> int:
    """Measure, print, and say whether the bounds are kept."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--models", type=int, default=50, help="candidates on each question")
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
            fill(words.rows, words.models)
            print(f"{words.rows:,} verdicts written in {time.perf_counter() - began:.0f} s", flush=True)
        found = measured(Path(scratch) / "scripts.txt", words.rounds, words.rows)
    report(found)
    if words.json:
        words.json.write_text(json.dumps(found, indent=1) + "\n")
    late = [name for name, each in found["changes"].items() if each["p95_ms"] > words.bound or each["bytes"] > words.most_bytes]
    return int(bool(late) or found["memory"] > words.most_memory)


def measured(log: Path, rounds: int, rows: int) -> dict:
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
            page.goto(f"{address}/judge")
            page.get_by_role("combobox", name="Category").first.wait_for(timeout=PATIENCE_MS)
            settled(page, watch, 0)
            first, first_memory = time.perf_counter() - began, watch.most
            page.close()
            for _ in range(rounds):
                page = visitor(browser, watch)
                change("open", page, lambda page=page: page.goto(f"{address}/judge"))
                use(page, change)
                page.close()
                page, middle = visitor(browser, watch), f"{address}/judge?sort=largest+score+difference&page={rows // 100}"
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


def use(page: Page, change) -> None:  # type: ignore[no-untyped-def]
    """Every filter, search, sort and some pages."""
    for name, (label, options) in CHANGES.items():
        for option in options:
            change(name, page, lambda label=label, option=option: pick(page, label, option))
    turn(page, change)
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
            page.keyboard.type(option)  # a long list shows its beginning alone
            page.get_by_role("option", name=option, exact=True).first.click(timeout=SHORT_MS)
            return
    raise AssertionError(f"{label} never listed {option}")


def turn(page: Page, change) -> None:  # type: ignore[no-untyped-def]
    """Pages in the order of the file, and sorted: the next ones, and the last."""
    shown = "file"
    for order in ("file", "largest score difference", "file"):
        if order != shown:
            change("sort", page, lambda order=order: pick(page, "Order of rows", order))
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


if __name__ == "__main__":
    sys.exit(main())
