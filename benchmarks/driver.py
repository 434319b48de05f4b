"""How much a Ray job's driver takes in: megabytes a second of files, and messages a second, from as many workers as this machine has CPUs.

    python benchmarks/driver.py [--mb 1024] [--messages 20000]

Files of 4 MB, as large as a checkpoint of a small adapter, are sent as a hand sends them, and lie on disk when they count. What one driver
takes in bounds how many workers it can follow (docs/scale.md). Needs requirements-ray.txt; no network.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parent.parent))

from benchmarks.cluster import cluster
from core.cluster.away import Away

FILE_BYTES = 4 << 20


def send_files(count: int, away: Away) -> int:
    """On a worker: so many files, four at a time."""
    for number in range(count):
        (away.path / f"{number}.bin").write_bytes(os.urandom(FILE_BYTES))
        if number % 4 == 3 or number == count - 1:
            away.kept()
    return count


def send_events(count: int, away: Away) -> int:
    """On a worker: so many rows of progress."""
    for number in range(count):
        away.event("progress", done=number, total=count, unit="messages", message="")
    return count


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1024)
    parser.add_argument("--messages", type=int, default=20_000)
    given = parser.parse_args()
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as home, cluster(workers) as address:
        os.environ |= {"RAY_ADDRESS": address, "LYCEUM_HOME": home}
        files = measured("send_files", given.mb * 2**20 // FILE_BYTES // workers, workers)
        events = measured("send_events", given.messages // workers, workers)
    print(
        json.dumps({"workers": workers, "mb_per_second": round(given.mb / files, 1), "messages_per_second": round(given.messages / events)})
    )


def measured(target: str, each: int, workers: int) -> float:
    """Seconds until the driver has all that so many workers send. They have begun before."""
    from core import runs
    from core.cluster.connection import connect, slots
    from core.cluster.hands import Hand, Hands
    from core.workspace import Workspace

    def computed(name: str, count: int) -> float:
        hands: Any = [Hand(f"{name}-{place}", f"benchmarks.driver:{target}", count) for place in range(workers)]
        begun = time.perf_counter()
        Hands(workspace, slots(print), "messages").compute(hands)
        return time.perf_counter() - begun

    connect(print)
    workspace = Workspace(runs.create("train", {}))
    computed("warm", 1)
    return computed(target, each)


if __name__ == "__main__":
    main()
