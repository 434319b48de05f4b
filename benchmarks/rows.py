"""How long, and in how much memory, `python -m core data` imports, splits and reports on millions of rows.

    python benchmarks/rows.py [--rows 1000000] [--kind jsonl|json|csv|parquet] [--folder FOLDER] [--out FILE.json]

The limit is 2 GB of memory: the most that a process of the job held at a time (VmHWM), shared and mapped pages included. Rows are
shipped clauses and questions put together anew, in 420 categories of unequal size, one in a hundred asked before and one in a hundred
asked before in other words; no more than a part of them is ever in memory here. `--folder` keeps the file, the imported rows and the
run; 10,000,000 rows take about 20 GB in it while the command runs. The bundled model is converted first, outside what is measured.
`load` is the load average at the end: with other work beside it, read `cpu_seconds`.
"""

import argparse
import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parent.parent
LIMIT_MB = 2048
SUBJECTS = 60
"""Categories of each school."""
REMEMBERED = 10_000
"""Earlier rows that may be asked again."""
FIELDS = ("question", "answer", "category")
Row = tuple[str, str, str]


def main() -> None:
    """Write the rows, measure the command and print one JSON object."""
    options = _options()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / f"rows-{options.rows}.{options.kind}"
        if not data.exists():
            WRITERS[options.kind](data, rows(options.rows))
        measured = {
            "kind": options.kind,
            "file_mb": round(data.stat().st_size / 2**20),
            **measure(data, folder),
        }
    print(json.dumps(measured, indent=1))
    if options.out:
        options.out.write_text(json.dumps(measured, indent=1) + "\n")


def measure(data: Path, folder: Path) -> dict[str, Any]:
    """One run of the command."""
    environment = {**os.environ, "LYCEUM_HOME": str(folder), "LYCEUM_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    convert = "from core.models.bundled import converted; converted()"
    subprocess.run([sys.executable, "-c", convert], env=environment, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    begin = time.perf_counter()
    with (folder / "said.txt").open("w") as said:
        command = [sys.executable, "-m", "core", "data", "--data", str(data)]
        job = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=subprocess.PIPE, stderr=said, text=True)
        seen: dict[int, Process] = {}
        while job.poll() is None:
            _look(seen, folder)
            time.sleep(0.5)
    seconds = time.perf_counter() - begin
    assert job.stdout is not None
    done = json.loads(job.stdout.read().splitlines()[-1])
    if done["status"] != "done":
        sys.exit(f"The job is {done['status']}: {(folder / 'said.txt').read_text()[-2000:]}")
    figures = ("rows", "categories", "train", "validation", "test", "tokens", "duplicates", "leaks", "source_hash")
    memory_mb = max(each.most_mb for each in seen.values())
    return {
        **{name: done["outputs"][name] for name in figures},
        "seconds": round(seconds, 1),
        "cpu_seconds": round(max(each.cpu_seconds for each in seen.values()), 1),
        "stages": stages(folder / "results" / done["run_id"]),
        "memory_mb": round(memory_mb),
        "memory_of_all_processes_mb": round(sum(each.most_mb for each in seen.values())),
        "share_of_memory_limit": round(memory_mb / LIMIT_MB, 3),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
    }


class Process:
    """The most memory that a process has held, and the time that it took."""

    most_mb = cpu_seconds = 0.0

    def look(self, process: psutil.Process) -> None:
        """As it is now."""
        times = process.cpu_times()
        self.cpu_seconds = times.user + times.system
        status = Path(f"/proc/{process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        self.most_mb = int(found[1]) / 1024 if found else self.most_mb


def _look(seen: dict[int, Process], home: Path) -> None:
    """At every process that works in this home."""
    for process in psutil.process_iter():
        try:
            if process.pid in seen or process.environ().get("LYCEUM_HOME") == str(home):
                seen.setdefault(process.pid, Process()).look(process)
        except (psutil.Error, OSError):
            continue


def stages(run: Path) -> dict[str, float]:
    """Seconds of each stage, as the run's events tell; the first is all that comes before rows are kept."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    began = datetime.fromisoformat(json.loads((run / "run.json").read_text(encoding="utf-8"))["started_at"])
    starts = {"checking the file": began}
    for event in events:
        if event["kind"] == "progress":
            starts.setdefault(event["message"], datetime.fromisoformat(event["time"]))
            if event["message"] == "counting tokens" and event["done"] == event["total"]:
                starts.setdefault("writing the report", datetime.fromisoformat(event["time"]))
    ends = [*list(starts.values())[1:], datetime.fromisoformat(events[-1]["time"])]
    return {name: round((end - start).total_seconds(), 1) for (name, start), end in zip(starts.items(), ends, strict=True)}


def rows(count: int) -> Iterator[Row]:
    """Rows that are the same every time, one after another."""
    shipped = [json.loads(line) for line in (PROJECT / "data/seven_schools.jsonl").read_text(encoding="utf-8").splitlines()]
    clauses = [clause.strip() for row in shipped for clause in re.split(r"(?<=[.;:])\s", row["answer"]) if len(clause) > 20]
    words = [word for row in shipped for word in row["answer"].split()]
    schools = list(dict.fromkeys(row["category"] for row in shipped))
    draw = random.Random(0)
    earlier: list[Row] = []
    for number in range(count):
        kind = draw.random()
        if earlier and kind < 0.02:
            question, answer, category = earlier[int(draw.random() * len(earlier))]
            row = (question, answer, category) if kind < 0.01 else (f"{question.rstrip('?')}, please?", answer, category)
        else:
            asked = shipped[int(draw.random() * len(shipped))]["question"].rstrip("?")
            named = " ".join(words[int(draw.random() * len(words))] for _ in range(4))
            answer = " ".join(clauses[int(draw.random() * len(clauses))] for _ in range(4))
            category = f"{schools[int(draw.random() * len(schools))]} {int(SUBJECTS * draw.random() ** 2)}"
            row = (f"{asked}, and what of {named}?", answer, category)
        if len(earlier) < REMEMBERED:
            earlier.append(row)
        else:
            earlier[number % REMEMBERED] = row
        yield row


def _write_jsonl(path: Path, made: Iterator[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(dict(zip(FIELDS, row, strict=True)), ensure_ascii=False) + "\n" for row in made)


def _write_json(path: Path, made: Iterator[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        lines = (json.dumps(dict(zip(FIELDS, row, strict=True)), ensure_ascii=False) for row in made)
        file.write(f"[{next(lines)}")
        file.writelines(f",\n{line}" for line in lines)
        file.write("]\n")


def _write_csv(path: Path, made: Iterator[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(chain([FIELDS], made))


def _write_parquet(path: Path, made: Iterator[Row]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.string()) for name in FIELDS])
    with parquet.ParquetWriter(path, schema) as writer:
        while part := list(islice(made, 50_000)):
            writer.write_table(pa.table([list(column) for column in zip(*part, strict=True)], schema=schema))


WRITERS = {"jsonl": _write_jsonl, "json": _write_json, "csv": _write_csv, "parquet": _write_parquet}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=WRITERS, default="jsonl")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
