"""The compiled network's benchmark: both sides train, and without a compiler there is none."""

import pytest

from benchmarks.speed import compiled
from replication.network.aspp import ASPP
from replication.network.resnet import ResNet


def test_both_sides_are_timed(monkeypatch):
    asked = []
    for part in (ResNet, ASPP):
        monkeypatch.setattr(part, "compile", lambda self: asked.append(type(self).__name__))
    monkeypatch.setattr(compiled.shutil, "which", lambda name: name)
    [one] = compiled.compare(1)
    assert asked == ["ResNet", "ASPP"] and one.target is None
    assert len(one.ours) == len(one.theirs) == 1 and min(one.ours + one.theirs) > 0


def test_without_a_compiler_there_is_nothing_to_compare(monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiled, "build", lambda *_: pytest.fail("built"))
    assert list(compiled.compare(1)) == []
