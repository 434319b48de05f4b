"""Tables of things chosen by a word: every row of every table loads, is labelled, and cites its source."""

import pytest

from core.errors import UserError
from core.judge import BACKENDS
from core.judge.formats import FORMATS
from core.merge import ROUTERS, STRATEGIES
from core.metrics import METRICS
from core.registry import Entry, lookup
from core.train import METHODS
from core.verbs import VERBS

ROWS = [
    pytest.param(row, id=f"{table}-{name}")
    for table, rows in {
        "methods": METHODS,
        "strategies": STRATEGIES,
        "routers": ROUTERS,
        "metrics": METRICS,
        "backends": BACKENDS,
        "formats": FORMATS,
    }.items()
    for name, row in rows.items()
]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_loads_and_says_what_it_is(row):
    assert callable(row.load())
    assert row.label and row.reference and row.summary.endswith(".")


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_loads_and_every_field_has_its_sentence(name):
    assert callable(VERBS[name].load())
    assert VERBS[name].lane in ("device", "desk")
    for field, info in VERBS[name].config.model_fields.items():
        assert info.description, f"{name}.{field} has no sentence under it"


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"^Unknown merge strategy 'tiez'. Choose one of: linear, svd, cat, ties, .*\.$"):
        lookup(STRATEGIES, "merge strategy", "tiez")


def test_a_row_is_imported_only_when_it_is_used():
    row = Entry("Broken", "core.no_such_module:thing", "none")
    assert lookup({"broken": row}, "thing", "broken") is row
    with pytest.raises(ModuleNotFoundError):
        row.load()
