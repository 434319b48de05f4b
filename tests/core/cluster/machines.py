"""Machines of one's own on this one: each a set of namespaces (network, processes, mounts, name), on a switch whose cables can be pulled.

A machine has an address, sees only its own processes, and has a /tmp of its own: what they share are the installed code and what a test
lets them share. The switch stands in a namespace too, so the network of the machine that they run on is not touched. Needs root.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SUBNET = "10.97.0"
SPACES = ("--mount", "--uts", "--pid")
BOOT = """\
mount -t tmpfs tmpfs /mnt
for path in {shared}; do mkdir -p "/mnt$path"; mount --bind "$path" "/mnt$path"; done
mkdir -p /mnt/tmp
mount --rbind /mnt/tmp /tmp
mount -t tmpfs tmpfs /dev/shm
printf {hosts} > /tmp/.hosts
mount --bind /tmp/.hosts /etc/hosts
hostname {name}
echo up
while :; do sleep 3600; done
"""
"""What the first process of a machine does. {shared}: folders in /tmp that it sees too."""


def possible() -> bool:
    """Whether this user may make namespaces."""
    return (
        subprocess.run(["unshare", "--net", *SPACES, "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode
        == 0
    )


class Machine:
    """One machine: run commands on it, pull its cable, cut its power."""

    def __init__(self, switch: str, name: str, address: str, script: str) -> None:
        self.name, self.address = name, address
        self.space = f"{switch}-{name}"
        """Its network's name, for `ip netns`."""
        self._switch, self._cable = switch, f"to-{name}"
        _ip("netns", "add", self.space)
        _ip("-n", switch, "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        _ip("-n", switch, "link", "set", self._cable, "master", "bridge", "up")
        _ip("-n", self.space, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", self.space, "link", "set", device, "up")
        words = ["ip", "netns", "exec", self.space, "unshare", *SPACES, "--fork", "--kill-child", "--mount-proc", "sh", "-ec", script]
        self._power = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        assert self._power.stdout and self._power.stdout.readline() == b"up\n", f"{name} did not start"
        [first] = psutil.Process(self._power.pid).children()
        self.first = first.pid

    def words(self, *command: str, **environment: str) -> list[str]:
        """The command line that runs a command there, in this process's folder."""
        given = [f"{name}={value}" for name, value in environment.items()]
        return ["nsenter", f"--target={self.first}", "--net", *SPACES, "--", "env", "-C", os.getcwd(), *given, *command]

    def start(self, log: Path, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
        """Start a command there; what it prints is appended to `log`."""
        with log.open("ab") as file:
            return subprocess.Popen(self.words(*command, **environment), stdout=file, stderr=file, start_new_session=True)

    def connect(self, cable: bool) -> None:
        """Put its cable in, or pull it."""
        _ip("-n", self._switch, "link", "set", self._cable, "up" if cable else "down")

    def processes(self) -> list[list[str]]:
        """The command lines of all its processes."""
        here = os.readlink(f"/proc/{self.first}/ns/pid")
        found = []
        for process in psutil.process_iter():
            with suppress(OSError, psutil.Error):  # gone meanwhile
                if os.readlink(f"/proc/{process.pid}/ns/pid") == here:
                    found.append(process.cmdline())
        return found

    def off(self) -> None:
        """Cut its power: everything on it ends at once."""
        os.kill(self.first, signal.SIGKILL)
        self._power.wait()
        _ip("netns", "del", self.space)


@contextmanager
def machines(seen: Mapping[str, Sequence[Path]]) -> Iterator[list[Machine]]:
    """Machines on one switch, until the end of the block; they know each other by name. `seen`: by name, folders in /tmp that each sees."""
    switch = f"ly{os.getpid()}"
    addresses = {name: f"{SUBNET}.{number}" for number, name in enumerate(seen, 1)}
    hosts = "".join(f"{address} {name}\\n" for name, address in ({"localhost": "127.0.0.1"} | addresses).items())
    made: list[Machine] = []
    _ip("netns", "add", switch)
    try:
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for name, folders in seen.items():
            script = BOOT.format(shared=" ".join(shlex.quote(str(folder)) for folder in folders), hosts=shlex.quote(hosts), name=name)
            made.append(Machine(switch, name, addresses[name], script))
        yield made
    finally:
        for machine in made:
            machine.off()
        _ip("netns", "del", switch)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
