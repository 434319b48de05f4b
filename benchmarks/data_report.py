"""How long, and in how much memory, `python -m core data` reads, splits and reports on 133,000 rows.

    python benchmarks/data_report.py [--rows 133000] [--kind varied|template] [--data FILE] [--out FILE.json]

The limits are 180 seconds and 4 GB on 2 cores, counting tokens included, the base model's conversion on first use not.
`varied` rows are shipped answers with a third of their words exchanged; `template` rows are one sentence with other numbers,
the worst case for the search of near-duplicates. `--data` measures a file of your own.
`load` is the load average at the end:
with other work beside it, read `cpu_seconds`.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LIMIT_SECONDS, LIMIT_MB = 180, 4096


def main() -> None:
    """Measure one run in a process of its own and print one JSON object."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or _write(Path(folder) / "rows.jsonl", options.rows, options.kind)
        environment = {**os.environ, "LYCEUM_HOME": folder, "HF_HUB_OFFLINE": "1"}
        begin = time.perf_counter()
        command = [sys.executable, __file__, "--inside", "--data", str(data), "--base_model", options.base_model]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=PROJECT, check=True)
        seconds = time.perf_counter() - begin
        outputs = json.loads(done.stdout.splitlines()[-1])
        size_mb = round(data.stat().st_size / 2**20, 1)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory_mb = used.ru_maxrss / 1024
    measured = {
        "data": options.data.name if options.data else f"{options.kind} rows",
        "file_mb": size_mb,
        **{key: outputs[key] for key in ("rows", "categories", "tokens", "leaks", "duplicates")},
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "memory_mb": round(memory_mb),
        "share_of_time_limit": round(seconds / LIMIT_SECONDS, 3),
        "share_of_memory_limit": round(memory_mb / LIMIT_MB, 3),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "base_model": options.base_model,
    }
    print(json.dumps(measured, indent=1))
    if options.out:
        options.out.write_text(json.dumps(measured, indent=1) + "\n")


def inside(data: Path, base_model: str) -> None:
    """The measured process: the verb as a job runs it."""
    sys.path.insert(0, str(PROJECT))
    from core import runs
    from core.config import DataConfig
    from core.data.report import run
    from core.workspace import Workspace

    config = DataConfig(data=str(data), base_model=base_model)
    print(json.dumps(run(config, Workspace(runs.create("data", config.model_dump())))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=133_000)
    parser.add_argument("--kind", choices=["varied", "template"], default="varied")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--base_model", default="bundled")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.data, options.base_model)
        sys.exit()
    return options


def _write(path: Path, rows: int, kind: str) -> Path:
    make = {"varied": _varied, "template": _template}[kind]
    with path.open("w", encoding="utf-8") as file:
        for question, answer, category in make(rows):
            file.write(json.dumps({"question": question, "answer": answer, "category": category}, ensure_ascii=False) + "\n")
    return path


def _varied(rows: int) -> Iterator[tuple[str, str, str]]:
    shipped = [json.loads(line) for line in (PROJECT / "data/seven_schools.jsonl").read_text(encoding="utf-8").splitlines()]
    words = [word for row in shipped for word in row["answer"].split()]
    draw = random.Random(0)
    for number in range(rows):
        row = draw.choice(shipped)
        answer = " ".join(draw.choice(words) if draw.random() < 1 / 3 else word for word in row["answer"].split())
        yield f"{row['question']} ({draw.choice(words)}, {draw.choice(words)}, {number})", answer, f"{row['category']}-{number % 2}"


def _template(rows: int) -> Iterator[tuple[str, str, str]]:
    for number in range(rows):
        yield (
            f"What is fact number {number} of subject {number % 10}?",
            f"Fact {number} says that {number * 7} follows.",
            f"subject {number % 10}",
        )


if __name__ == "__main__":
    main()
