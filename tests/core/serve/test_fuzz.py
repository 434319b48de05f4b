"""Strange requests to every address: an answer or a sentence, never a status of 500, and no traceback in the engine either."""

import httpx
import pytest

from benchmarks.fuzz import Found, Known, fuzz
from tests.conftest import SCHOOLS

EXAMPLES = 6


@pytest.fixture
def known(serve, adapters, tmp_path, monkeypatch):
    """An engine, and names that it knows."""
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    adapters("x", 1), adapters("y", 2)
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "bees.md").write_text("Bees make honey from nectar.")
    return serve(), Known(("base", "x", "mix:x=0.5,y=-1"), ("x", "y"), str(documents), str(SCHOOLS))


def test_no_request_makes_it_fail(known, capfd):
    served, names = known
    found = fuzz(served.address.address, names, EXAMPLES, 0, Found())
    assert not found.faults, "\n".join(found.faults)
    assert "Traceback" not in "".join(capfd.readouterr())
    answered = {name.rsplit(" ", 1)[0] for name in found.statuses if name.endswith(" 200")}
    refused = {name.rsplit(" ", 1)[0] for name in found.statuses if name.endswith(" 400")}
    asked = {name.rsplit(" ", 1)[0] for name in found.statuses if name.startswith("POST")}
    assert len(asked) >= 7 and asked <= refused
    assert len(asked - answered) <= 1, "chance may leave one address without a request that it can answer"
    assert served.health()["answers"] == 0


def test_a_fault_is_found(known, monkeypatch):
    served, names = known
    monkeypatch.setattr("core.serve.drawing._samplings", lambda *_: 1 / 0)
    found = fuzz(served.address.address, names, 3, 0, Found())
    assert any("500" in fault and "/v1/completions" in fault for fault in found.faults)


def test_what_long_runs_have_found_stays_mended(known):
    served, _ = known
    chat = {"model": "base", "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    for body in ({"preset": []}, {"preset": {"a": 1}}):
        reply = httpx.post(f"{served.address.address}/v1/chat/completions", json=chat | body)
        assert reply.status_code == 400 and "preset is none of" in reply.json()["error"]["message"]
