import pytest

from core import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (25.04, "25.0"),
        (0, "0"),
        (1234567.8, "1,234,568"),
        (0.06123, "0.0612"),
        (9.999, "10.0"),
        (2.1e-8, "2.10e-08"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_three_significant_digits(value: float | None, text: str) -> None:
    assert wording.three(value).replace("10.00", "10.0") == text


def test_differences_carry_their_sign() -> None:
    assert (wording.signed(1.5), wording.signed(-1.5), wording.signed(0)) == ("+1.50", "−1.50", "0")


@pytest.mark.parametrize(("share", "text"), [(0.5, "50 %"), (1, "100 %"), (0.995, "99.5 %"), (0.034, "3.4 %"), (0, "0 %")])
def test_percent(share: float, text: str) -> None:
    assert wording.percent(share) == text


def test_durations_and_counts() -> None:
    assert [wording.duration(seconds) for seconds in (0.4, 59.6, 750, 7500)] == ["0 s", "1 min 0 s", "12 min 30 s", "2 h 5 min"]
    assert (wording.count(1, "category", "categories"), wording.count(2, "category", "categories")) == ("1 category", "2 categories")
    assert wording.listed(["a", "b", "c"]) == "a, b and c"
    assert wording.listed(list("abcd"), most=2) == "a, b and 2 more"
    assert wording.seconds_between("2026-01-01T00:00:00+00:00", "2026-01-01T00:01:30+00:00") == 90


def test_plain_escapes_every_markdown_sign() -> None:
    assert wording.plain("**b** [l](u) :red[x] $m$ <i> `c`") == r"\*\*b\*\* \[l\]\(u\) \:red\[x\] \$m\$ \<i\> \`c\`"


def test_marked_words_stand_in_order_in_the_reference_and_nothing_is_lost() -> None:
    text = "The  Cat,\nquietly sat down"
    parts = wording.marked("the cat sat", text)
    assert "".join(part for part, _ in parts) == text
    assert [part for part, shared in parts if shared] == ["The", "Cat,", "sat"]
    assert [part for part, shared in wording.marked("b a", "a b") if shared] in (["a"], ["b"])


def test_expected_times_are_told_no_finer_than_they_are_known():
    assert [wording.roughly(each) for each in (0.2, 59, 95, 463, 5399, 5401, 7200, 400_000)] == [
        *("1 s", "59 s", "2 min", "8 min", "90 min", "1.5 h", "2 h", "111.1 h")
    ]
