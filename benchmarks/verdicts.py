"""A million verdicts in the verdict browser: `python benchmarks/verdicts.py --rows 1000000`.

A home is made with one judged run: --models models against the base on different questions, each answer different, words of the sample
data. The real app is started on it, and visited by a client that speaks its protocol and draws nothing, so that no browser takes the
server's processor. The first visit makes the table ready, which is said apart; then the page is opened, filtered, searched, sorted and
turned --rounds times. For each kind of change: how long the script ran on the server (median, 95th percentile, longest; and the
processor's time in all threads meanwhile, which a busy machine changes less), what came over the websocket, and what the server holds
in memory (resident, DuckDB's part included).
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import psutil
from streamlit.proto.WidgetStates_pb2 import WidgetState

from core import paths, results, runs
from core.results import AuditFigure, Verdict
from tests.pages.browsing import App, free_port
from tests.pages.visitor import Seen, Visitor, turned, typed

CATEGORIES = 40
CHANGES = {
    "filter by category": ("category", ["subject-07", "subject-31", "all"]),
    "filter by outcome": ("verdict", ["win", "loss", "tie", "all"]),
    "filter by orders": ("orders", ["disagree", "agree", "all"]),
    "filter by candidate": ("candidate", ["model-03", "model-11", "all"]),
    "filter by length": ("length", ["longer", "under half", "all"]),
    "filter by people": ("people", ["voted", "all"]),
    "sort": ("sort", ["largest score difference", "smallest score difference", "file"]),
}
"""The key of each list, and what is chosen in it one after another."""
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

    def __init__(self, address: str, watch: Watch) -> None:
        self.address, self.watch = address, watch
        self.times: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.sizes: dict[str, list[int]] = defaultdict(list)

    def open(self, name: str, **query: str) -> None:
        """A session of its own."""
        self.visitor = Visitor.of(self.address)
        self.page = self._measured(name, query=query)
        self.fragment = self.page.fragment(self.page.widget("contains"))

    def close(self) -> None:
        """The session ends."""
        self.visitor.socket.close()

    def change(self, name: str, key: str, state: Callable[..., WidgetState], value: object) -> None:
        """Another value of a widget; its part of the page runs again."""
        seen = self._measured(name, [state(self.page.widget(key), value)], self.fragment)
        self.last = max((element.num_pages for kind, element in seen.elements() if kind == "pagination"), default=1)

    def _measured(self, name: str, states: Sequence[WidgetState] = (), fragment: str = "", query: Mapping[str, str] | None = None) -> Seen:
        before = len(self.watch.scripts())
        seen = self.visitor.open("judge", states, fragment, **(query or {}))
        assert not any(kind == "exception" for kind, _ in seen.elements()), seen.text
        self.times[name].append(max(self.watch.scripts(before)[before:]))
        self.sizes[name].append(seen.size)
        return seen


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
    try:
        address = app.wait()
        watch = Watch(psutil.Process(app.process.pid), log)
        first, first_memory = made_ready(address, watch)
        use = Use(address, watch)
        for _ in range(rounds):
            use.open("open")
            everything(use)
            use.close()
            use.open("open in the middle", sort="largest score difference", page=str(rows // 100))
            use.close()
        watch.ended.set()
    finally:
        app.end()
    changes = {name: figures(use.times[name], use.sizes[name]) for name in use.times}
    return {"ready_seconds": first, "ready_memory": first_memory, "memory": watch.most, "load": os.getloadavg()[0], "changes": changes}


def made_ready(address: str, watch: Watch) -> tuple[float, int]:
    """Seconds of the first visits, until the page is whole, and what the server held at most."""
    began = time.perf_counter()
    while True:
        visitor = Visitor.of(address)
        seen = visitor.open("judge")
        visitor.socket.close()
        if any("-contains" in widget for widget in seen.widgets):
            return time.perf_counter() - began, watch.most
        time.sleep(1)


def everything(use: Use) -> None:
    """Every filter, sort and search, and some pages."""
    for name, (key, options) in CHANGES.items():
        for option in options:
            use.change(name, key, typed, option)
    for order in ("largest score difference", "file"):
        use.change("sort", "sort", typed, order)
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


if __name__ == "__main__":
    sys.exit(main())
