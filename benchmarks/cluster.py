"""What Ray costs on one machine: whole commands by LYCEUM_EXECUTOR local and ray, turn by turn, with the same adapters in the end.

    python benchmarks/cluster.py --steps 100                     # the bundled model on 7 categories, as long as the steps take
    python benchmarks/cluster.py --categories 1000 --tiny        # many tiny adapters on a random Llama of 2 layers
    python benchmarks/cluster.py --nodes 1,2,4 --tiny            # the same work on so many nodes of one CPU

A head with all CPUs (or `--nodes` of one CPU each) is started for the benchmark and stopped after it; starting it is not part of the time.
Every adapter of both sides must be equal to 1e-4. Needs requirements-ray.txt; no network.
"""

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from safetensors.torch import load_file

from core import paths
from tests.conftest import write_tiny_base

SHIPPED = paths.PROJECT / "data" / "seven_schools.jsonl"
TOLERANCE = 1e-4


def main() -> None:
    """One line per turn, then medians and the ratio of each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--categories", type=int, default=7, help="other than 7: shipped rows, dealt anew")
    parser.add_argument("--rows", type=int, default=12, help="of each category where they are dealt anew")
    parser.add_argument("--steps", type=int, default=60, help="optimiser steps of an adapter")
    parser.add_argument("--tiny", action="store_true", help="a random Llama of 2 layers in place of the bundled model")
    parser.add_argument("--nodes", default="", help="nodes of one CPU, several counts separated by commas; none: one node with all CPUs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lyceum-") as folder:
        words = command(given, Path(folder))
        found = {}
        for nodes in [int(each) for each in given.nodes.split(",") if each] or [0]:
            with cluster(nodes) as address:
                found[nodes or "one, all CPUs"] = compare(words, address, given.repeats, Path(folder), one_thread=bool(nodes))
    if given.json:
        given.json.write_text(
            json.dumps({"arguments": {**vars(given), "json": None}, "cpus": os.cpu_count(), "nodes": found}, indent=1) + "\n"
        )


def command(given: argparse.Namespace, folder: Path) -> list[str]:
    """The training, as words of the command line."""
    data = SHIPPED if given.categories == 7 else dealt(given.categories, given.rows, folder / "rows.jsonl")
    base = str(write_tiny_base(folder / "tiny-base")) if given.tiny else "bundled"
    settings = {"data": data, "base_model": base, "categories": "each", "epochs": 1000, "max_steps": given.steps, "batch_size": 4}
    return ["train", *(word for name, value in settings.items() for word in (f"--{name}", str(value))), "--device", "cpu", "--keep", "last"]


def dealt(categories: int, rows: int, file: Path) -> Path:
    """Short rows of the shipped data under as many new categories."""
    shipped = [json.loads(line) for line in SHIPPED.read_text(encoding="utf-8").splitlines()]
    short, chance = [row for row in shipped if len(row["answer"]) < 200], random.Random(0)
    with file.open("w", encoding="utf-8") as opened:
        for category in range(categories):
            for place in range(rows):
                row = chance.choice(short)
                said = {**row, "question": f"{row['question']} ({category}.{place})", "category": f"category {category}"}
                opened.write(json.dumps(said, ensure_ascii=False) + "\n")
    return file


def compare(words: list[str], address: str, repeats: int, folder: Path, one_thread: bool) -> dict[str, Any]:
    """Seconds of both sides, turn by turn, and their ratios."""
    seconds: dict[str, list[float]] = {"local": [], "ray": []}
    apart = 0.0
    for turn in range(repeats):
        homes = {}
        for executor in ("local", "ray") if turn % 2 == 0 else ("ray", "local"):
            homes[executor] = folder / f"home-{turn}-{executor}"
            seconds[executor].append(timed(words, executor, address, homes[executor], one_thread))
        apart = max(apart, farthest(homes["local"], homes["ray"]))
        print(f"turn {turn + 1}: local {seconds['local'][-1]:.1f} s, ray {seconds['ray'][-1]:.1f} s, {apart:.1e} apart", flush=True)
        for home in homes.values():
            shutil.rmtree(home, ignore_errors=True)  # the worker of its last job may just be letting go of its lock
    ratios = [ray / local for local, ray in zip(seconds["local"], seconds["ray"], strict=True)]
    print(f"ray / local: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); adapters differ by at most {apart:.1e}")
    if apart > TOLERANCE:
        sys.exit(f"The adapters are not the same: they differ by {apart:.1e}.")
    return {"seconds": seconds, "ratios": ratios, "apart": apart}


def timed(words: list[str], executor: str, address: str, home: Path, one_thread: bool) -> float:
    """Of one whole command."""
    settings = {"LYCEUM_EXECUTOR": executor, "RAY_ADDRESS": address, "LYCEUM_HOME": str(home)} | (
        {"OMP_NUM_THREADS": "1"} if one_thread else {}
    )
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "core", *words], cwd=paths.PROJECT, env=os.environ | settings, check=True, capture_output=True)
    return time.monotonic() - begun


def farthest(one: Path, other: Path) -> float:
    """The largest difference between the adapters of two homes."""
    files = sorted(one.glob("adapters/*/adapter_model.safetensors"))
    found = [0.0]
    for file in files:
        here, there = load_file(file), load_file(other / file.relative_to(one))
        found += [float((here[name].float() - there[name].float()).abs().max()) for name in here]
    return max(found)


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """A Ray cluster on this machine; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    cpus = ["--num-cpus=0"] if nodes else []
    started = [subprocess.Popen([*start, "--head", f"--port={port}", "--include-dashboard=false", *cpus], **quiet)]
    time.sleep(10)
    for _ in range(nodes):
        started.append(subprocess.Popen([*start, f"--address=127.0.0.1:{port}", "--num-cpus=1"], **quiet))
        time.sleep(8)  # two that start at once choose the same ports, and neither lives
    try:
        yield f"127.0.0.1:{port}"
    finally:
        for node in reversed(started):
            node.terminate()
            node.wait()


if __name__ == "__main__":
    main()
