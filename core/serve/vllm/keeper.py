"""Between Lyceum and vLLM: `python keeper.py GRACE COMMAND...` runs the command until it ends, or until standard input closes.

The kernel closes that pipe however Lyceum ends, SIGKILL included, so vLLM never outlives it; and vLLM's helper processes, which a killed
server leaves behind, end with the group. The command's exit status is written to standard output. Imports nothing of Lyceum.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies. Linux alone."""


def main(words: list[str]) -> None:
    """Leads the process group of all that vLLM starts, and ends with it."""
    grace = float(words[0])
    libc = ctypes.CDLL(None)
    bound = (lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)) if sys.platform == "linux" else None
    child = subprocess.Popen(words[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=bound)
    threading.Thread(target=_end_with_input, args=(child, grace), daemon=True).start()
    status = child.wait()
    with suppress(BrokenPipeError):
        print(status, flush=True)
    os.killpg(0, signal.SIGKILL)


def _end_with_input(child: "subprocess.Popen[bytes]", grace: float) -> None:
    sys.stdin.buffer.read()
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace)
    child.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
