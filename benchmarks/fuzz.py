"""Requests that nobody would send, by schemathesis and hypothesis, against an engine's own OpenAPI: each gets an answer or a sentence.

    python benchmarks/fuzz.py [--seconds 600] [--examples 20] [--base_url URL] [--seed 0] [--json OUT]

Each operation is asked with fields that its schema allows, with fields that it doesn't, with known names put in so that answers come
about, and with bodies that are no JSON. No status of 500 or above, no traceback, errors as OpenAI shapes them, declared statuses alone.
Without --base_url an engine is started on a tiny model. Rounds go on with other seeds until the time is over. Exits 1 when it finds one.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

ANSWER_SECONDS = 60
"""A request that takes longer counts as never answered."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
STRANGE = ("\ud800", "\x00", "𝔘" * 50, "a" * 20_000, "../../etc/passwd", "", " ", "mix:", "mix:x=nan", "mix:x=1e999", "%00", "route")
NUMBERS = (float("nan"), float("inf"), -1, 0, 2**63, 2**64, 1e308, -0.0, 10**40)


@dataclass
class Found:
    """What came back."""

    statuses: Counter[str] = field(default_factory=Counter)
    """How often, by 'POST /v1/chat/completions 400'."""
    faults: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self.statuses.total()


@dataclass(frozen=True)
class Known:
    """Names that the engine knows, so that some requests get through to the model."""

    models: tuple[str, ...] = ("base",)
    adapters: tuple[str, ...] = ()
    documents: str = ""
    data: str = ""


def main() -> int:
    """Ask until the time is over, and print what came back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--examples", type=int, default=20, help="of each kind, operation and round")
    parser.add_argument("--base_url", help="without /v1; empty: an engine is started")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given_ = parser.parse_args()
    if given_.base_url:
        found = rounds(given_.base_url, Known(), given_.seconds, given_.examples, given_.seed)
    else:
        found = at_home(given_.seconds, given_.examples, given_.seed)
    for name, number in sorted(found.statuses.items()):
        print(f"{number:6,}  {name}")
    for fault in found.faults:
        print(f"\nFAULT {fault}")
    print(f"\n{found.requests:,} requests, {len(found.faults)} faults")
    if given_.json:
        given_.json.write_text(json.dumps({"statuses": found.statuses, "faults": found.faults}, indent=1))
    return int(bool(found.faults))


def at_home(seconds: float, examples: int, first_seed: int) -> Found:
    """An engine of its own; its log must hold no traceback either."""
    from benchmarks import tiny
    from core.serve import resident
    from tests.conftest import SCHOOLS
    from tests.pages.tiny_mix import ADAPTERS

    with tiny.engine() as engine:
        documents = resident.log().parent / "documents"
        documents.mkdir()
        (documents / "bees.md").write_text("# Bees\n\nBees make honey from nectar. A hive has one queen.")
        mix = f"mix:{ADAPTERS[0]}=0.5,{ADAPTERS[1]}=-1"
        known = Known(("base", *ADAPTERS, mix), ADAPTERS, str(documents), str(SCHOOLS))
        found = rounds(engine.address, known, seconds, examples, first_seed)
        log = resident.log().read_text(encoding="utf-8", errors="replace")
        if "Traceback" in log:
            found.faults.append(f"The engine's log has a traceback:\n{log[log.index('Traceback') :][:4000]}")
    return found


def rounds(address: str, known: Known, seconds: float, examples: int, first_seed: int) -> Found:
    """Rounds with other seeds, until the time is over."""
    found, until, nth = Found(), time.monotonic() + seconds, first_seed
    while time.monotonic() < until and not found.faults:
        fuzz(address, known, examples, nth, found, until)
        nth += 1
    print(f"seeds {first_seed} to {nth - 1}")
    return found


def fuzz(address: str, known: Known, examples: int, nth: int, found: Found, until: float = float("inf")) -> Found:
    """One round: every operation, in every way. The same seed sends the same requests."""
    load_all_checks()
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()
        modes = MODES if operation.method == "post" else MODES[:1]  # a GET without fields has nothing to get wrong
        ways = [generated(operation, mode, known, found) for mode in modes]
        if operation.method == "post":
            ways.append(torn(address + operation.full_path, known, found))
        for way in ways:
            if time.monotonic() < until:
                run(way, f"{operation.label}, seed {nth}", examples, nth, found)
    return found


def run(way: Callable[[], None], label: str, examples: int, nth: int, found: Found) -> None:
    """Examples of one way; a fault is kept with the smallest request that shows it."""
    calm = settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False)
    try:
        seed(nth)(calm(way))()
    except (Exception, BaseExceptionGroup) as error:  # schemathesis groups its failures
        found.faults.append(f"{label}: {type(error).__name__}: {error}")


def generated(operation: Any, mode: Any, known: Known, found: Found) -> Callable[[], None]:
    """Requests from the schema: as it allows them, or not."""
    fillings = filling(operation.full_path, known)

    @given(
        case=operation.as_strategy(generation_mode=mode),
        fill=st.one_of(st.none(), fillings, fillings),
        kept=st.integers(0, 3),
        die=st.randoms(),
    )
    def way(case: schemathesis.Case, fill: dict[str, Any] | None, kept: int, die: random.Random) -> None:
        if fill is not None and isinstance(case.body, dict):
            case.body = {name: case.body[name] for name in die.sample(sorted(case.body), min(kept, len(case.body)))} | fill
        response = case.call(timeout=ANSWER_SECONDS)
        found.statuses[f"{operation.label} {response.status_code}"] += 1
        case.validate_response(response, checks=CHECKS)
        check(response.status_code, response.headers.get("content-type", [""])[0], response.text)

    return way


def torn(url: str, known: Known, found: Found) -> Callable[[], None]:
    """Bodies that are no JSON, JSON that is no object, and objects whose values are strange."""
    values = st.sampled_from(STRANGE) | st.sampled_from(NUMBERS) | st.none() | st.booleans() | st.just([]) | st.just({})
    objects = filling(url, known).flatmap(lambda fill: strange_in(fill, values))
    nested = st.integers(1, 2000).map(lambda depth: "[" * depth + "]" * depth)
    texts = objects.map(lambda body: json.dumps(body)) | nested | values.map(lambda value: json.dumps(value))
    kinds = st.sampled_from(["application/json", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""])

    @given(body=st.binary(max_size=200) | texts.map(str.encode), kind=kinds)
    def way(body: bytes, kind: str) -> None:
        response = httpx.post(url, content=body, headers={"Content-Type": kind}, timeout=ANSWER_SECONDS)
        found.statuses[f"POST {response.url.path} {response.status_code}"] += 1
        check(response.status_code, response.headers.get("content-type", ""), response.text)

    return way


def strange_in(fill: Mapping[str, Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One field of a good request is something else, or one is added."""
    names = st.sampled_from([*fill, "temperature", "top_p", "seed", "stop", "n", "logprobs", "preset", "nobody knows"])
    return st.tuples(names, values).map(lambda each: {**fill, each[0]: each[1]})


def filling(path: str, known: Known) -> st.SearchStrategy[dict[str, Any]]:
    """Fields that make a request to this path one that the model answers, in few tokens."""
    models, few, text = st.sampled_from(known.models), st.integers(1, 4), st.text(max_size=20)
    mix = st.none() | mixes(known.adapters)
    messages = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": text}), min_size=1)
    session = st.text(min_size=1, max_size=5)
    rows = st.lists(st.fixed_dictionaries({"key": session, "question": text, "mix": mix}), min_size=1, max_size=3)
    question = {"docs_dir": st.just(known.documents), "question": st.text(min_size=1, max_size=20), "max_new_tokens": few}
    rag = st.fixed_dictionaries({**question, "pipelines": st.sampled_from([["none"], ["bm25"], ["none", "bm25"]])})
    fields: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "chat/completions": {"model": models, "messages": messages, "max_tokens": few, "max_completion_tokens": st.none()},
        "v1/completions": {"model": models, "prompt": text, "max_tokens": few},
        "console/answers": {"session": session, "rows": rows, "max_new_tokens": few},
        "console/losses": {"session": session, "mixes": st.lists(mix, min_size=1, max_size=2), "data": st.just(known.data), "limit": few},
        "console/shares": {"model": models, "messages": messages, "answer": st.just("A good life.") | text, "token": st.integers(0, 2)},
        "rag/answers": {"session": session, "settings": rag, "mix": mix},
    }
    mine = next((each for ending, each in fields.items() if path.endswith(ending)), {})
    return st.fixed_dictionaries(mine)


def mixes(adapters: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Merge configs of known adapters."""
    if not adapters:
        return st.none()
    strategies = st.sampled_from(["linear", "ties", "dare_linear", "svd", "slerp", "nope"])
    weights = st.lists(st.floats(-2, 2), min_size=2, max_size=2)
    two = {"adapters": st.just(list(adapters[:2])), "weights": weights, "strategy": strategies, "density": st.none() | st.floats(0.1, 1)}
    return st.fixed_dictionaries(two)


def check(status: int, kind: str, text: str) -> None:
    """An answer, or an error as OpenAI shapes it; a stream's events too."""
    assert status < 500, f"status {status}: {text[:500]}"
    assert "Traceback" not in text and "This is a bug" not in text, text[:1000]
    if status >= 400:
        check_error(json.loads(text))
    elif kind.startswith("text/event-stream"):
        for event in events(text):
            if set(event) == {"error"} and isinstance(event["error"], dict):
                check_error(event)
    else:
        json.loads(text)


def check_error(body: Any) -> None:
    """{"error": {"message", "type", "param", "code"}}, the message in words."""
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, body
    assert isinstance(error["message"], str) and error["message"].strip(), body


def events(text: str) -> Iterator[dict[str, Any]]:
    """The events of a stream; every line is one, or blank."""
    for line in text.splitlines():
        assert not line or line.startswith("data: "), line
        if line and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


if __name__ == "__main__":
    sys.exit(main())
