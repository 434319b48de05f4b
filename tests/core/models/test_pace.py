"""A provider's limits are kept: checked on the times at which calls start, with a short minute."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.models import pace
from core.models.pace import DayIsOver, Limits, Meter, Pace, seconds

MINUTE = 0.5


@pytest.fixture(autouse=True)
def short_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MINUTE", MINUTE)


class Provider:
    """Takes calls at a pace, and notes when each began and what it took."""

    def __init__(self, limits: Limits, day: tuple[int, int] = (0, 0)) -> None:
        self.noted: list[int] = []
        self.calls: list[tuple[float, int]] = []
        self._lock = threading.Lock()
        self.pace = Pace(limits, lambda: (day[0] + len(self.noted), day[1] + sum(self.noted)), self.noted.append)

    def call(self, most: int, takes: int, headers: dict[str, str] | None = None) -> None:
        began = self.pace.start(most)
        with self._lock:
            self.calls.append((time.monotonic(), takes))
        time.sleep(0.01)
        self.pace.end(began, takes, headers or {})

    def many(self, number: int, most: int = 10, takes: int = 10) -> None:
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(self.call, most, takes) for _ in range(number)]:
                done.result()

    def busiest(self) -> tuple[int, int]:
        """Most calls, and most tokens, that began within any minute."""
        windows = [[takes for at, takes in self.calls if start <= at < start + MINUTE] for start, _ in self.calls]
        return max(map(len, windows)), max(map(sum, windows))


def test_requests_a_minute() -> None:
    provider = Provider(Limits(requests_per_minute=5))
    provider.many(14)
    assert len(provider.calls) == 14 and provider.busiest()[0] == 5


def test_tokens_a_minute_count_what_was_taken_not_what_was_feared() -> None:
    provider = Provider(Limits(tokens_per_minute=100))
    provider.many(12, most=50, takes=20)
    assert provider.busiest()[1] <= 100 and provider.busiest()[0] >= 3


def test_one_call_beyond_the_limit_still_goes_alone() -> None:
    provider = Provider(Limits(tokens_per_minute=10))
    start = time.monotonic()
    provider.many(2, most=50, takes=50)
    assert provider.busiest()[0] == 1 and time.monotonic() - start < 10 * MINUTE


@pytest.mark.parametrize(
    ("limits", "day", "sentence"),
    [
        (Limits(requests_per_day=5), (3, 0), "requests_per_day=5 is reached: 5 requests in the last 24 hours"),
        (Limits(tokens_per_day=50), (0, 25), "tokens_per_day=50 is reached: 45 tokens in the last 24 hours"),
    ],
)
def test_the_day_ends_with_a_sentence(limits: Limits, day: tuple[int, int], sentence: str) -> None:
    provider = Provider(limits, day)
    provider.call(10, 10)
    provider.call(10, 10)
    with pytest.raises(DayIsOver, match=sentence):
        provider.call(10, 10)
    assert provider.noted == [10, 10]


@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_headers_that_say_nothing_is_left_are_believed(what: str) -> None:
    provider = Provider(Limits())
    provider.call(10, 10, {f"x-ratelimit-remaining-{what}": "0", f"x-ratelimit-reset-{what}": "300ms"})
    provider.call(10, 10)
    assert 0.3 <= provider.calls[1][0] - provider.calls[0][0] < 2
    provider.call(10, 10, {f"x-ratelimit-remaining-{what}": "0", f"x-ratelimit-reset-{what}": "24h0m0s"})
    start = time.monotonic()
    provider.call(10, 10)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("left", ["²", "-5", "9" * 5000, "nan"])
def test_headers_that_are_no_number_are_passed_over(left: str) -> None:
    provider = Provider(Limits())
    start = time.monotonic()
    for _ in range(2):
        provider.call(10, 10, {"x-ratelimit-remaining-tokens": left, "x-ratelimit-reset-tokens": "9s"})
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7.66s", 7.66),
        ("2m59.56s", 179.56),
        ("120ms", 0.12),
        ("1h0m1s", 3601),
        ("1d", 86400),
        ("3", 3),
        ("", None),
        ("soon", None),
        ("1.2.3s", None),
    ],
)
def test_durations_of_headers(text: str, value: float | None) -> None:
    assert seconds(text) == (pytest.approx(value) if value is not None else None)


def test_the_meter_learns() -> None:
    meter = Meter()
    assert meter.likely(400) == 100 and meter.most(400) >= 200 and meter.likely_reply(7) == 7
    meter.learn(400, 80, 2)
    meter.learn(400, 120, 4)
    meter.learn(400, None, None)
    assert meter.likely(800) == 200 and meter.likely_reply(7) == 3
    assert 240 <= meter.most(800) <= 270
