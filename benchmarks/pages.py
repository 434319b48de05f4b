"""How long each page takes until it can be used, with many runs and adapters: `python benchmarks/pages.py`.

A home is made from what is shipped: its adapters copied under 1,000 names, its runs under 50 ids. The app is opened on it in headless
Chromium, and each page is visited --rounds times, in turns, by a click in the navigation. Usable: the page's title stands and its script
has ended. Prints median and maximum; exits 1 when a median is above --bound seconds. The processor's share counts: keep the machine quiet.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Page, sync_playwright

from core import paths, runs
from tests.pages.browsing import CHROMIUM, FLAGS, PATIENCE_MS, App
from tests.pages.conftest import PAGES, TITLES

DONE = "[data-testid=stApp][data-test-script-state=notRunning]"


def fill(home: Path, adapters: int, wanted: int) -> None:
    """Copies of the shipped adapters, merges and runs."""
    for folder in ("merged_adapters", "models"):
        if (paths.PROJECT / folder).is_dir():
            shutil.copytree(paths.PROJECT / folder, home / folder)
    shipped = sorted(file.parent for file in (paths.PROJECT / "adapters").glob("*/adapter_config.json"))
    for place in range(adapters):
        _adapter(shipped[place % len(shipped)], home / "adapters", place - len(shipped))
    made = sorted(file.parent for file in (paths.PROJECT / "results").glob("*/run.json"))
    for place in range(wanted):
        _run(made[place % len(made)], home / "results", place - len(made))


def _adapter(source: Path, shelf: Path, number: int) -> None:
    """A copy under a name of its own from number 0 on; the weights are links."""
    target = shelf / (source.name if number < 0 else f"subject-{number:04}")
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.suffix == ".safetensors":
            os.symlink(file, target / file.name)
        elif file.is_file():
            shutil.copy(file, target)
    if number >= 0:
        info = json.loads((target / "run.json").read_text())
        (target / "run.json").write_text(json.dumps(info | {"categories": [target.name]}))


def _run(source: Path, shelf: Path, number: int) -> None:
    """A copy under an older id from number 0 on."""
    run_id = source.name if number < 0 else f"20260101-000000-{number:03}-{source.name.split('-', 3)[3]}"
    shutil.copytree(source, shelf / run_id)
    info = json.loads((shelf / run_id / "run.json").read_text())
    (shelf / run_id / "run.json").write_text(json.dumps(info | {"run_id": run_id}))


def visit(page: Page, name: str) -> float:
    """Seconds from the click until the page can be used."""
    title = TITLES.get(name, name.capitalize())
    begin = time.perf_counter()
    page.locator(f"[data-testid=stSidebarNav] a[href$='/{'' if name == 'overview' else name}']").first.click()
    page.wait_for_function("title => document.querySelector('h1')?.innerText === title", arg=title, timeout=PATIENCE_MS)
    page.wait_for_selector(DONE, timeout=PATIENCE_MS)
    return time.perf_counter() - begin


def main() -> int:
    """Measure, print, and say whether every page keeps the bound."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--adapters", type=int, default=1000)
    asked.add_argument("--runs", type=int, default=50)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--bound", type=float, default=2.0, help="seconds")
    words = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        os.environ["LYCEUM_HOME"] = folder
        fill(Path(folder), words.adapters, words.runs)
        print(f"{words.adapters:,} adapters, {len(runs.listing())} runs", flush=True)
        app = App.start()
        page = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS).new_page(viewport={"width": 1440, "height": 900})
        page.goto(app.wait(), timeout=PATIENCE_MS)
        page.wait_for_selector(DONE, timeout=PATIENCE_MS)
        rounds = [{name: visit(page, name) for name in (*PAGES[1:], PAGES[0])} for _ in range(words.rounds + 1)]
        app.end()
    slow = 0
    print(f"{'page':12} {'first':>7} {'median':>7} {'most':>7}   seconds")
    for name in PAGES:
        first, *rest = (each[name] for each in rounds)
        middle = statistics.median(rest)
        slow += middle > words.bound
        print(f"{name:12} {first:7.2f} {middle:7.2f} {max(rest):7.2f}")
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
