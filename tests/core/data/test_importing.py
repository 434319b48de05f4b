"""A dataset on disk is the one in memory; it is read once, by one process, and what is half-made is never taken for whole."""

import csv
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from core import paths, results, runs
from core.config import DataConfig
from core.data import importing, source
from core.data.read import Dataset, read
from core.data.report import run
from core.data.split import SPLITS
from core.data.stored import StoredDataset
from core.errors import UserError
from core.workspace import Workspace

PROJECT = Path(__file__).parents[3]
SCHOOLS = [json.loads(line) for line in (PROJECT / "data" / "seven_schools.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LARGE_BYTES", -1)


def shuffled(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows with repeats, near-duplicates, unusable ones, and categories of very different size."""
    draw, made = random.Random(seed), []
    for number in range(count):
        source = draw.choice(SCHOOLS[: count // 4])
        words = source["answer"].split()
        answer = " ".join(draw.choice(words) if draw.random() < draw.choice([0, 0, 0.05, 0.5]) else word for word in words)
        question = draw.choice([source["question"], source["question"].upper(), f"{source['question']} {number % 9}?"])
        category = f"{source['category']} {int(12 * draw.random() ** 4)}"
        made.append({"question": question, "answer": draw.choice([answer] * 40 + [None]), "category": category})
    return made


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(rows[0]), *(row.values() for row in rows)])
    elif path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path, row_group_size=700)
    else:
        text = json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows))
        path.write_text(text, encoding="utf-8")
    return path


def both(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, Dataset]:
    config = DataConfig(data=str(path))
    held = read(config)
    on_disk(monkeypatch)
    return held, read(config)


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_a_dataset_on_disk_is_the_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    held, stored = both(write(tmp_path / f"rows.{ending}", shuffled(9000)), monkeypatch)
    assert isinstance(stored, StoredDataset) and not isinstance(held, StoredDataset)
    for name in ("name", "columns", "dropped", "notes", "categories", "source_hash", "text_bytes"):
        assert getattr(stored, name) == getattr(held, name)
    assert list(stored.rows) == held.rows
    assert [stored.rows[place] for place in (0, 4095, 4096, -1)] == [held.rows[place] for place in (0, 4095, 4096, -1)]
    assert list(stored.rows[4000:4200]) == held.rows[4000:4200] and list(stored.rows[4000:4200][90:100]) == held.rows[4090:4100]
    assert {key: places.tolist() for key, places in stored.groups.items()} == {key: places.tolist() for key, places in held.groups.items()}
    for chosen in (("train", None, None), ("test", held.categories[2:5], 3), ("", None, 2), ("validation", [], None)):
        assert list(stored.select(*chosen)) == held.select(*chosen)
    assert len(held.categories) > 30 and held.dropped


@pytest.mark.parametrize("data", ["shipped", "random"])
def test_the_report_is_the_same_to_the_byte(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    source = PROJECT / "data" / "seven_schools.jsonl" if data == "shipped" else write(tmp_path / "rows.csv", shuffled(5000))
    config = DataConfig(data=str(source), base_model=str(tiny_base), max_seq_length=64)
    made = []
    for large in (False, True):
        if large:
            on_disk(monkeypatch)
        started = runs.create("data", config.model_dump())
        outputs = run(config, Workspace(started))
        said = [event["message"] for event in runs.read_events(started.run_id, "say")]
        figures = {name: value for name, value in outputs.items() if name not in ("report", "leaks_table")}
        made.append([(started.path / "report.csv").read_bytes(), (started.path / "leaks.csv").read_bytes(), said, figures])
    assert made[0] == made[1]
    assert len(results.read(started.path / "leaks.csv", results.Leak)) == made[0][3]["leaks"] > 0


def test_rows_are_read_once_and_anew_when_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    on_disk(monkeypatch)
    path, heard = write(tmp_path / "rows.jsonl", shuffled(50)), []
    config = DataConfig(data=str(path))
    first = read(config, lambda done, total: heard.append((done, total)))
    assert len(heard) == 1 and heard[0][0] == len(first.rows)
    read(config, lambda done, total: heard.append((done, total)))
    assert len(heard) == 1
    read(config.model_copy(update={"category_column": "answer"}))
    assert len(list(cache.iterdir())) == 4, "two datasets, a lock for each"
    write(path, shuffled(60))
    assert len(read(config).rows) > len(first.rows) and len(list(cache.glob("*/about.json"))) == 2
    assert list(first.rows), "who has the old rows open keeps them, and their folder"
    del first
    write(path, shuffled(70))
    read(config)
    assert len(list(cache.glob("*/about.json"))) == 1


def test_a_killed_import_leaves_nothing_that_is_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    path = write(tmp_path / "rows.jsonl", shuffled(6000))
    killed = f"""
import os, signal
from core.config import DataConfig
from core.data import source
from core.data.read import read
source.LARGE_BYTES = -1
read(DataConfig(data={str(path)!r}), lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
"""
    done = subprocess.run([sys.executable, "-c", killed], cwd=PROJECT, env=os.environ)
    assert done.returncode == -9 and len(list(cache.glob(".*.unfinished"))) == 1 and not list(cache.glob("*/about.json"))
    on_disk(monkeypatch)
    other = write(tmp_path / "other.jsonl", shuffled(50, 1))
    read(DataConfig(data=str(other)))
    assert not list(cache.glob(".*.unfinished")), "another import clears it away"
    assert len(read(DataConfig(data=str(path))).rows) > 5000


def test_two_processes_read_it_once(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "rows.jsonl", shuffled(12_000))
    code = f"""
from core.config import DataConfig
from core.data import source
from core.data.read import read
source.LARGE_BYTES, heard = -1, []
dataset = read(DataConfig(data={str(path)!r}), lambda done, total: heard.append(done))
print(len(heard), len(list(dataset.rows)))
"""
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(each.communicate()[0].split() for each in both)
    assert [heard for heard, _ in said] == ["0", "3"] and said[0][1] == said[1][1]
    assert len(list(cache.glob("*/about.json"))) == 1


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    """The size that a file may have stands in for the disk: the system says so in the same way."""
    path = write(tmp_path / "rows.jsonl", shuffled(3000))
    code = f"""
import resource
from core.config import DataConfig
from core.data import source
from core.data.read import read
from core.errors import UserError
from core.workspace import Workspace
source.LARGE_BYTES = -1
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    read(DataConfig(data={str(path)!r}))
except UserError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert str(cache) in said and "Free some space" in said
    assert not [left for left in cache.iterdir() if left.suffix != ".lock"]


@pytest.mark.parametrize("change", ["cut", "longer"])
def test_a_source_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, change: str) -> None:
    on_disk(monkeypatch)
    path = write(tmp_path / "rows.jsonl", shuffled(12_000))
    content = path.read_text(encoding="utf-8")
    lines = [f"{line}\n" for line in content.splitlines()]

    def changed(done: int, total: int) -> None:
        path.write_text("".join(lines[:9000] if change == "cut" else [*lines, *lines[:100]]), encoding="utf-8")

    with pytest.raises(UserError, match="changed while it was read. Wait until it is written, then start again"):
        read(DataConfig(data=str(path)), changed)
    assert not [left for left in cache.iterdir() if left.suffix != ".lock"]
    path.write_text(content, encoding="utf-8")
    kept = read(DataConfig(data=str(path)))
    monkeypatch.setattr(source, "LARGE_BYTES", 2**40)
    assert kept.source_hash == read(DataConfig(data=str(path))).source_hash


def test_a_column_of_too_many_values_is_no_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    on_disk(monkeypatch)
    monkeypatch.setattr(importing, "MOST_CATEGORIES", 20)
    rows = [{"question": f"Q {n}", "answer": "A", "id": f"i{n}"} for n in range(30)]
    with pytest.raises(UserError, match="column 'id'.*more than 20 different values"):
        read(DataConfig(data=str(write(tmp_path / "rows.jsonl", rows)), category_column="id"))
    assert not [left for left in cache.iterdir() if left.suffix != ".lock"]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Ten times the rows, of 2 kB each, take little more: what grows is some numbers for each."""
    code = """
import resource, sys
from core.config import DataConfig
from core.data import checks, source
from core.data.read import read
from core.workspace import Workspace
source.LARGE_BYTES = -1
dataset = read(DataConfig(data=sys.argv[1]))
checks.repeats(dataset.rows), checks.leaks(dataset.rows)
print(len(dataset.rows), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for count in (4000, 40_000):
        path = tmp_path / f"{count}.jsonl"
        with path.open("w") as file:
            for number in range(count):
                words = " ".join(f"{number % 97} {(number * place) % 1009}" for place in range(200))
                file.write(json.dumps({"question": f"What is number {number}?", "answer": words}) + "\n")
        done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
        rows, peak = map(int, done.stdout.split())
        assert rows == count
        peaks.append(peak / 1024)
    assert peaks[1] - peaks[0] < 60, f"{path.stat().st_size / 2**20:.0f} MB of text took {peaks} MB"
