"""A store on each S3-compatible server, and several machines that share it: working copies of their own, in this process one at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core import store
from core.store import away, ledger
from tests.s3 import BUCKET, SERVERS, Server


@pytest.fixture(
    scope="session", params=[SERVERS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in SERVERS[1:])], ids=lambda kind: kind.name
)
def s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs for the whole session. A test that kills it starts it again."""
    with request.param(tmp_path_factory.mktemp("s3")) as server:
        yield server


class Machine:
    """Whoever `enters` has this machine's working copy and the store's keys."""

    def __init__(self, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name, self.work, self._monkeypatch = name, folder / name, monkeypatch

    def enter(self) -> Path:
        self._monkeypatch.setenv("LYCEUM_WORK", str(self.work))
        self._monkeypatch.setattr("platform.node", lambda: self.name)
        ledger.place()  # the jobs' processes read the name where this one has written it
        return self.work


@pytest.fixture
def url(s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """LYCEUM_HOME of this test: a prefix of its own in the bucket."""
    return use(f"s3://{BUCKET}/{tmp_path.name}", s3, monkeypatch)


@pytest.fixture
def here(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The first machine, entered."""
    machine = Machine("here", tmp_path, monkeypatch)
    machine.enter()
    return machine


@pytest.fixture
def there(here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The second one, not entered yet."""
    return Machine("there", tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def no_outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins with a store that was never away, and ends when nobody looks at it any more."""
    monkeypatch.setattr(away, "outage", None)
    monkeypatch.setattr(away, "_back", -away.SETTLING_SECONDS)
    monkeypatch.setattr(store, "in_job", False)
    monkeypatch.setattr(store, "_news", [])
    monkeypatch.setattr(store, "_looked", float("-inf"))
    yield
    with store._looking:  # in the background; the next test has another home
        pass


def use(url: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.keys(LYCEUM_HOME=url).items():
        monkeypatch.setenv(name, value)
    return url


@pytest.fixture
def napping(here, naps, nap):
    """Submit a nap on this machine."""
    yield nap
    here.enter()


@pytest.fixture
def up_again(s3):
    """Whatever happens to it, the next test finds the server as it was."""
    yield s3
    if s3.process:
        s3.go_on()
    else:
        s3.start()
