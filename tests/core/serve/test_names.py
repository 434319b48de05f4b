"""How a mix is named in a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from core.serve.names import mix_name, mix_weights


def test_weights_are_read():
    assert mix_weights("mix:law=0.5,cynic=-1e-1") == {"law": 0.5, "cynic": -0.1}
    assert mix_weights("mix: law = 2 , cynic=0") == {"law": 2, "cynic": 0}
    assert mix_weights("mix:a,b,c,d") == dict.fromkeys("abcd", 0.25)


@given(st.dictionaries(st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True), st.integers(-400, 400).map(lambda n: n / 100), min_size=1))
def test_what_was_written_is_read(weights):
    assert mix_weights(mix_name(weights)) == weights


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mix:", "names no adapters"),
        ("mix:a=1,,b=1", "names no adapters"),
        ("mix:=1", "names no adapters"),
        ("mix:a=1,a=2", "'a' stands twice"),
        ("mix:a=1,b", "Give each one, or none"),
        ("mix:a=x", "The weight 'x' in 'mix:a=x' is no number"),
        ("mix:a=nan", "is no number"),
        ("mix:a=1e999", "is no number"),
    ],
)
def test_what_is_no_mix_is_refused(name, said):
    with pytest.raises(UserError, match=said):
        mix_weights(name)
