import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
LOOK = """
import time
from core.errors import UserError
from core.data.formats import load
from core.models.load import resolve
from core.models.embed import Encoder
start = time.monotonic()
for look in (load, resolve, Encoder):
    try:
        look("nobody/nothing-of-that-name")
    except UserError as error:
        print(error)
print(time.monotonic() - start)
"""


def test_an_unknown_name_is_answered_soon_when_the_hub_is_out_of_reach():
    """Nothing listens at port 9; the clients alone would try again for 15 to 50 seconds each."""
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"} | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    words = [sys.executable, "-c", LOOK]
    done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=100, check=True)
    *sentences, seconds = done.stdout.splitlines()
    assert [sentence.count("nobody/nothing-of-that-name") for sentence in sentences] == [2, 1, 1]
    assert float(seconds) < 15
