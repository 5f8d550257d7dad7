"""A machine for forecasts that is the same wherever the tests run."""

import pytest

from replication.forecast import devices


@pytest.fixture
def some_cpu(monkeypatch, tmp_path):
    """A CPU of eight cores, an empty data cache."""
    monkeypatch.setenv("REPLICATION_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(devices, "gpu", lambda: None)
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(devices, "processor", lambda: "Some CPU")
