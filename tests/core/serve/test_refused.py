"""What can't be answered is refused in one sentence, and harms no other answer."""

import httpx
import pytest

from core.models import load
from core.models.decoding import Decoding
from tests.core.serve.conftest import together
from tests.core.serve.test_answers import SYSTEM, expected, row


@pytest.fixture(scope="module")
def base(tiny_base):
    return load.load(str(tiny_base), device="cpu")


def test_names_that_no_file_can_have_and_wrong_addresses_get_one_sentence(serve):
    address = serve().address.address
    ask, measure = f"{address}/console/answers", f"{address}/console/losses"
    odd = '{"session": "a", "rows": [{"key": "a", "question": "?", "mix": {"adapters": ["%s"]}}]}'
    json_type = {"Content-Type": "application/json"}
    replies = {
        "long": (400, httpx.post(ask, content=odd % ("x" * 300))),
        "half": (400, httpx.post(ask, content=odd % "\\ud800", headers=json_type)),
        "field": (400, httpx.post(ask, content='{"\\ud800": 1}', headers=json_type)),
        "half data": (400, httpx.post(measure, content='{"session": "a", "mixes": [null], "data": "\\ud800"}', headers=json_type)),
        "zero data": (400, httpx.post(measure, content='{"session": "a", "mixes": [null], "data": "a\\u0000b"}', headers=json_type)),
        "nested": (400, httpx.post(ask, content="[" * 100_000, headers=json_type)),
        "bytes": (400, httpx.post(ask, content=b"\xff\xfe\xfa", headers=json_type)),
        "host": (403, httpx.get(f"{address}/health", headers={"Host": "evil.example"})),
        "address": (404, httpx.get(f"{address}/nope")),
        "method": (405, httpx.get(ask)),
    }
    for what, (status, reply) in replies.items():
        assert reply.status_code == status, what
        said = reply.json()["error"]["message"]
        assert said.endswith((".", "python -m core train")) and "\n" not in said, what


@pytest.mark.parametrize(
    "mix", [{"adapters": ["x"], "strategy": "ties", "density": 0.5, "ties_lambda": 1e300}, {"adapters": ["x"], "weights": [1e39]}]
)
def test_a_mix_beyond_all_numbers_is_refused_and_harms_nobody(serve, adapters, base, mix):
    adapters("x", 1)
    events = list(serve().answers(row("strong", mix), row("base"), row("x", {"adapters": ["x"]}), system_prompt=SYSTEM, max_new_tokens=24))
    assert [event["key"] for event in events if "error" in event] == ["strong"]
    texts = together(event for event in events if event["key"] != "strong")
    assert texts == {"base": expected(base, {}).text, "x": expected(base, {"x": 1.0}).text}


def test_an_answer_whose_logits_are_no_numbers_is_an_error(serve, base, monkeypatch):
    step = Decoding.step

    def torn(decoding, *given):
        logits = step(decoding, *given)
        logits[[each.ask.key == "strong" for each in decoding.rows]] = float("nan")
        return logits

    monkeypatch.setattr(Decoding, "step", torn)
    events = list(serve().answers(row("strong", question="Who?"), row("base"), system_prompt=SYSTEM, max_new_tokens=24))
    monkeypatch.setattr(Decoding, "step", step)
    ((key, said),) = [(event["key"], event["error"]) for event in events if "error" in event]
    assert key == "strong" and "are no numbers any more under this mix" in said
    assert together(event for event in events if event["key"] == "base") == {"base": expected(base, {}).text}
