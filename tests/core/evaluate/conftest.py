"""The base model of the tests, loaded once a module."""

import pytest

from core.models import load


@pytest.fixture(scope="module")
def base(tiny_base):
    return load.load(str(tiny_base), device="cpu")
