"""Joining a cluster that is not there."""

import socket

import pytest

from core.errors import UserError

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_port_where_nobody_listens_is_told_when_patience_ends(monkeypatch, host):
    from core.cluster import connection

    with socket.create_server((host.strip("[]"), 0), family=socket.AF_INET6 if "[" in host else socket.AF_INET) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"{host}:{port}")
    monkeypatch.setenv("LYCEUM_RAY_PATIENCE", "1")
    said = []
    with pytest.raises(UserError, match="has not answered for [1-9] s .*refused.*ray start --head"):
        connection.connect(said.append)
    assert "waiting for it" in said[-1]
