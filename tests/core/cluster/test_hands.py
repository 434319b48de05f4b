"""A driver and its workers: who waits for whom, and what is said of work that can't be done."""

import time
from pathlib import Path

import pytest

from core import runs
from core.cluster.away import UNSENT
from core.errors import UserError
from core.workspace import Workspace

pytestmark = pytest.mark.ray
SENDING = "tests.core.cluster.sending"


@pytest.fixture
def joined(home, cluster, monkeypatch):
    """This process drives the cluster."""
    import ray

    from core.cluster.connection import connect

    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    connect(print)
    yield
    ray.shutdown()


def test_a_worker_waits_for_its_driver(joined, tmp_path):
    from core.cluster.connection import slots
    from core.cluster.hands import Hand, Hands

    trace, leads = tmp_path / "sent", []

    class Busy(Workspace):
        def event(self, kind, **values):
            if kind == "sent":
                time.sleep(0.05)
                leads.append(int(Path(trace).read_text() or 0) - values["number"])

    trace.write_text("0")
    hands = Hands(Busy(runs.create("train", {})), slots(print), "events")
    assert hands.compute([Hand("one", f"{SENDING}:count_up", str(trace))]) == [100]
    assert len(leads) == 100 and max(leads) <= 2 * UNSENT + 2


def test_what_a_worker_refuses_is_said_as_it_stands(joined):
    from core.cluster.hands import call

    with pytest.raises(UserError, match="^There is no base model 'x'.\nSaid by a worker"):
        call(f"{SENDING}:refuse", say=print)


def test_work_whose_worker_dies_again_and_again_is_given_up(joined):
    from core.cluster.hands import call

    with pytest.raises(UserError, match="was lost with its worker again and again .WorkerCrashedError.. Mend the workers"):
        call(f"{SENDING}:die", say=print)
