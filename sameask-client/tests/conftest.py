"""The one fixture: each client in turn."""

import pytest

import both_clients


@pytest.fixture(params=["call_sync", "call_async"])
def call(request: pytest.FixtureRequest) -> both_clients.Call:
    """Calls a method of Client, then of AsyncClient."""
    called: both_clients.Call = getattr(both_clients, request.param)
    return called
