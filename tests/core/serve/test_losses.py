"""Losses over HTTP equal core.models.loss.row_losses, come once, and never from test rows."""

import json
from collections import defaultdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from core import adapter
from core.bank import AdapterBank
from core.config import DataConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.errors import UserError
from core.models import load
from core.models.loss import row_losses

SYSTEM = "Answer as a {category}."


@pytest.fixture(scope="module")
def base(tiny_base):
    return load.load(str(tiny_base), device="cpu")


def expected(base, data, weights, limit=None):
    """Nats per answer token by category."""
    rows = read(DataConfig(data=str(data))).select("validation", limit=limit)
    encoded = Prompter(base.tokenizer, SYSTEM).encode_all([(row.question, row.answer, row.category) for row in rows])
    bank = AdapterBank.load(base.model, [adapter.read(adapter.find(name)) for name in weights])
    try:
        losses = row_losses(base, encoded, (lambda rows: bank.mixing(torch.tensor(list(weights.values())))) if weights else None)
    finally:
        bank.detach()
    nats, tokens = defaultdict(float), defaultdict(int)
    for row, loss, each in zip(rows, losses, encoded, strict=True):
        nats[row.category] += loss
        tokens[row.category] += len(each.answer)
    return {category: nats[category] / tokens[category] for category in nats}


def final(events, mix):
    """The last word on each category."""
    return {event["category"]: event["loss"] for event in events if event.get("mix") == mix and "loss" in event}


def test_losses_by_category_equal_row_losses(serve, adapters, base, tiny_data):
    adapters("x", 1), adapters("y", 2)
    mixes = [None, {"adapters": ["x"]}, {"adapters": ["x", "y"], "weights": [0.5, -0.5]}]
    events = serve().losses(mixes, data=str(tiny_data), system_prompt=SYSTEM)
    assert events[-1] == {"done": "all"}
    for place, weights in enumerate([{}, {"x": 1.0}, {"x": 0.5, "y": -0.5}]):
        assert final(events, place) == pytest.approx(expected(base, tiny_data, weights), rel=1e-5)
    ends = {(event["mix"], event["category"]): (event["done_rows"], event["rows"]) for event in events if "loss" in event}
    assert len(ends) == 9 and all(done == rows for done, rows in ends.values())
    assert len(events) > 10, "they come as they get known"


def test_limit_and_categories_choose_rows(serve, adapters, base, tiny_data):
    adapters("x", 1)
    events = serve().losses([None, {"adapters": ["x"]}], data=str(tiny_data), system_prompt=SYSTEM, limit=2, categories=[None, ["cynic"]])
    assert final(events, 0) == pytest.approx(expected(base, tiny_data, {}, 2), rel=1e-5)
    assert final(events, 1) == pytest.approx({"cynic": expected(base, tiny_data, {"x": 1.0}, 2)["cynic"]}, rel=1e-5)
    assert all(event["rows"] <= 2 for event in events if "rows" in event)


def test_a_strategy_is_measured_through_its_temporary_adapter(serve, adapters, base, tiny_data):
    adapters("x", 1), adapters("y", 2)
    mix = {"adapters": ["x", "y"], "strategy": "ties", "density": 0.5}
    events = serve().losses([mix, {**mix, "strategy": "svd", "density": None, "rank": 8}], data=str(tiny_data), system_prompt=SYSTEM)
    assert final(events, 1) == pytest.approx(expected(base, tiny_data, {"x": 0.5, "y": 0.5}), rel=1e-4), "at full rank svd is the sum"
    assert final(events, 0) != pytest.approx(final(events, 1), rel=1e-3)


def test_known_losses_come_at_once(serve, adapters, tiny_data):
    adapters("x", 1)
    served = serve()
    first = served.losses([None, {"adapters": ["x"]}], data=str(tiny_data))
    passes = len(served.passes)
    again = served.losses([{"adapters": ["x"]}, None], session="b", data=str(tiny_data))
    assert len(served.passes) == passes
    assert final(again, 0) == pytest.approx(final(first, 1)) and final(again, 1) == pytest.approx(final(first, 0))
    adapters("x", 2)
    assert final(served.losses([{"adapters": ["x"]}], data=str(tiny_data)), 0) != pytest.approx(final(first, 1))


def test_answers_go_on_meanwhile(serve, tiny_data):
    served = serve()
    answering = served.answers({"key": "a", "question": "Why?"}, max_new_tokens=400)
    next(answering)
    assert served.losses([None], data=str(tiny_data))[-1] == {"done": "all"}
    assert served.health()["answers"] == 1, "losses had their share of the time"
    assert list(answering)[-1]["tokens"] == 400


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"split": "test"}, "split can't be used: Input should be 'validation'"),
        ({"data": "no/such.jsonl"}, "no/such.jsonl"),
        ({"categories": [["stoic"]]}, "no validation rows of a category 'stoic'. Choose from: cynic, hacker, lexicon"),
        ({"categories": [None, None]}, "2 lists of categories were given for 1 mixes"),
        ({"mixes": [{"adapters": ["nope"]}]}, "There is no adapter 'nope'"),
        ({"mixes": []}, "mixes can't be used"),
        ({"data": "x" * 300}, "can't be a file's (File name too long)"),
        ({"data": "~nobody-at-all/x"}, "can't be a file's (Could not determine home directory)"),
        ({"mixes": [{"adapters": ["x" * 300]}]}, "x"),
        ({"max_seq_length": 16, "system_prompt": "Be brief. " * 20}, "fill max_seq_length=16 and leave no room for an answer"),
    ],
)
def test_bad_requests_get_one_sentence(serve, tiny_data, fields, said):
    with pytest.raises(UserError) as error:
        serve().losses(**{"mixes": [None], "data": str(tiny_data), **fields})
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_bug_while_computing_ends_the_stream(serve, tiny_data, monkeypatch, capfd):
    served = serve()

    def broken(*_):
        raise ZeroDivisionError("no")

    monkeypatch.setattr("core.serve.losses.row_losses", broken)
    with pytest.raises(UserError, match=r"The engine failed \(ZeroDivisionError: no\). This is a bug"):
        served.losses([None], data=str(tiny_data))
    monkeypatch.setattr("core.serve.losses.row_losses", row_losses)
    assert served.losses([None], data=str(tiny_data))[-1] == {"done": "all"}
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_an_adapter_of_zeros_is_measured_as_the_base_model(serve, adapters, tiny_data):
    weights = adapters("zero", 1) / "adapter_model.safetensors"
    save_file({key: torch.zeros_like(each) for key, each in load_file(weights).items()}, weights)
    events = serve().losses([None, {"adapters": ["zero"], "strategy": "svd"}], data=str(tiny_data))
    assert final(events, 0) == final(events, 1) != {}


def test_losses_that_are_no_numbers_are_an_error_of_their_mix(serve, tiny_data, monkeypatch):
    served = serve()
    monkeypatch.setattr("core.serve.losses.row_losses", lambda base, rows, *_: [float("nan")] * len(rows))
    events = served.losses([None], data=str(tiny_data))
    assert events == [{"mix": 0, "error": events[0]["error"]}, {"done": "all"}] and "are no numbers any more" in events[0]["error"]


def test_rows_beyond_the_context_are_left_out_and_said(serve, tmp_path):
    file = tmp_path / "long.jsonl"
    words = [("Why? " * 400 if n % 2 else "Why? ") + str(n) for n in range(120)]
    file.write_text("".join(json.dumps({"question": each, "answer": "So.", "category": "one"}) + "\n" for each in words))
    found = read(DataConfig(data=str(file))).select("validation")
    long = sum(len(row.question) > 1000 for row in found)
    assert 0 < long < len(found)
    note, *events = serve().losses([None], data=str(file), max_seq_length=100_000)
    assert note["note"].startswith(f"{long} of {len(found)} rows are left out: they have more than the 1024 tokens that the base model can")
    assert events[-2]["done_rows"] == events[-2]["rows"] == len(found) - long
