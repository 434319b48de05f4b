"""Passwords and people: who gets in."""

import unicodedata

import pytest

from core import access, rates
from core.errors import UserError

WORD = "Größe 秘密 🔑"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has tries of its own."""
    monkeypatch.setattr(access, "_tries", rates.Rates(access.TRIES_PER_MINUTE))


def test_without_a_password_none_is_needed() -> None:
    assert access.needs_password() is False


@pytest.mark.parametrize("empty", ["", "  ", "\t"])
def test_an_empty_one_lets_nobody_in(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    monkeypatch.setenv(access.PASSWORD, empty)
    with pytest.raises(UserError, match="LYCEUM_PASSWORD is set and empty, so nobody gets in"):
        access.needs_password()


def test_the_password_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.PASSWORD, WORD)
    assert access.needs_password()
    access.check_password(WORD)
    access.check_password(unicodedata.normalize("NFD", WORD))
    for other in ("", WORD.lower(), WORD + " ", WORD[:-1], "\ud800", "x" * 1000):
        with pytest.raises(UserError, match="This is not the password") as refused:
            access.check_password(other)
        assert WORD not in str(refused.value) and (not other or other not in str(refused.value))


def test_tries_are_limited_also_for_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.PASSWORD, WORD)
    for _ in range(access.TRIES_PER_MINUTE):
        with pytest.raises(UserError, match="This is not the password"):
            access.check_password("guess")
    with pytest.raises(UserError, match=r"More than 10 passwords were tried in a minute. Try again in [1-6] s"):
        access.check_password(WORD)


@pytest.mark.parametrize(
    ("users", "claims", "may"),
    [
        ("", {}, True),
        ("", {"email": "eve@elsewhere.org"}, True),
        ("ann@lab.org", {"email": "ann@lab.org"}, True),
        ("bo@lab.org, Ann@Lab.org", {"email": "ANN@lab.org", "email_verified": True}, True),
        ("@lab.org", {"email": "ann@lab.org"}, True),
        ("@lab.org", {"email": "ann@sub.lab.org"}, False),
        ("@lab.org", {"email": "ann@lab.org.evil.com"}, False),
        ("@lab.org", {"email": "ann@evil-lab.org"}, False),
        ("ann@lab.org", {"email": "joann@lab.org"}, False),
        ("ann@lab.org", {"email": "ann@lab.org", "email_verified": False}, False),
        ("ann@lab.org", {}, False),
        ("ann@lab.org", {"email": None, "name": "ann@lab.org"}, False),
    ],
)
def test_who_of_the_provider_gets_in(monkeypatch: pytest.MonkeyPatch, users: str, claims: dict[str, object], may: bool) -> None:
    monkeypatch.setenv(access.USERS, users)
    if may:
        access.check_user(claims)
    else:
        with pytest.raises(UserError, match="may not use this app"):
            access.check_user(claims)
