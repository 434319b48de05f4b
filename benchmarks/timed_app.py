"""The app, noting how long each of its scripts runs: `python benchmarks/timed_app.py LOG [Streamlit's options]`.

A line of LOG: seconds, and seconds of the processor in all threads.
"""

import sys
import time
from pathlib import Path

from streamlit.runtime.scriptrunner import script_runner
from streamlit.web import cli

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # beside this file lies another `pages`
log, *options = sys.argv[1:]
run = script_runner.ScriptRunner._run_script


def timed(self: script_runner.ScriptRunner, *given: object) -> None:
    """As it is, and a line for it."""
    began, computed = time.perf_counter(), time.process_time()
    try:
        run(self, *given)  # type: ignore[arg-type]
    finally:
        with Path(log).open("a") as file:
            file.write(f"{time.perf_counter() - began} {time.process_time() - computed}\n")


script_runner.ScriptRunner._run_script = timed  # type: ignore[method-assign]
sys.argv = ["streamlit", "run", str(PROJECT / "streamlit_app.py"), *options]
cli.main()
