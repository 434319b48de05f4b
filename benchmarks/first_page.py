"""How soon the app can be used: seconds from opening an address in a new browser session to its title and to its main picture.

    python benchmarks/first_page.py [--pages overview,evaluate] [--repeats 5]

Starts the app on the results of LYCEUM_HOME (the shipped ones unless it is set). The limit for the first page is 3 seconds, on a
machine with nothing else to do; the machine's load is printed beside. Needs Debian's chromium.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

PROJECT = Path(__file__).resolve().parent.parent
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DRAWN = "[data-testid=stApp][data-test-script-state=notRunning]"


def main() -> None:
    """Print minimum, median and maximum for each page."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--pages", default="overview,data,train,merge,evaluate,judge,jobs")
    arguments.add_argument("--repeats", type=int, default=5)
    given = arguments.parse_args()
    server, address = start()
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            for page in given.pages.split(","):
                times = [look(browser, f"{address}/{'' if page == 'overview' else page}") for _ in range(given.repeats)]
                for what, seconds in zip(("title", "drawn"), zip(*times, strict=True), strict=True):
                    print(f"{page:<10} {what}: {min(seconds):.2f} / {statistics.median(seconds):.2f} / {max(seconds):.2f} s", flush=True)
            print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    finally:
        server.terminate()


def start() -> tuple["subprocess.Popen[bytes]", str]:
    """The app on a free port, answering."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless", "true", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
            return server, address
        except OSError:
            time.sleep(0.2)
    server.terminate()
    raise TimeoutError(f"{address} did not answer within 60 s")


def look(browser: Browser, address: str) -> tuple[float, float]:
    """Seconds until the title stands, and until the whole page is drawn, in a session of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page, begun = context.new_page(), time.perf_counter()
    page.goto(address)
    page.wait_for_selector("h1", timeout=60_000)
    title = time.perf_counter() - begun
    page.wait_for_selector(DRAWN, timeout=60_000)
    drawn = time.perf_counter() - begun
    context.close()
    return title, drawn


if __name__ == "__main__":
    main()
