"""The ledger: complete, true to the protocol, and strict."""

import re
from pathlib import Path

import pytest

from replication.errors import SpecError
from replication.ledger import LEDGER, load_ledger, main, markdown
from replication.spec.protocol import load_protocol

HERE = Path(__file__).resolve().parents[1]
POINTS = load_ledger()


def ledger_fields() -> set[str]:
    source = (HERE / "replication/protocol.py").read_text()
    return set(re.findall(r"^    (\w+):.*# ledger", source, re.MULTILINE))


def test_every_field_marked_in_the_protocol_is_in_the_ledger() -> None:
    marked = ledger_fields()
    assert len(marked) >= 11
    assert marked <= {point.field for point in POINTS}


def test_every_choice_is_the_protocols() -> None:
    problems: list[str] = []
    protocol = load_protocol(HERE / "tables/protocol.toml", problems)
    assert protocol is not None and not problems
    stated = {**protocol.evaluation, **protocol.training}
    for point in POINTS:
        if point.field:
            assert point.choice == stated[point.field], point.topic


def test_built_in_choices_name_a_file() -> None:
    for point in POINTS:
        assert (HERE / point.where).is_file(), point.topic


def test_it_prints_every_point(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed == markdown(POINTS) + "\n"
    for point in POINTS:
        assert f"## {point.topic}\n" in printed and point.why in printed


MISTAKES = [
    (
        'field = "momentum"',
        'field = "momentun"',
        'no field "momentun"; the nearest known is "momentum"',
    ),
    ('field = "momentum"', 'field = "bn_decay"', '"bn_decay" is already that of points[4]'),
    ("choice = 0.9\n", 'choice = "0.9"\n', '"0.9" must be a number from 0 to below 1'),
    ("choice = 0.9\n", "", "missing; this key is required"),
    (
        'alternatives = ["everywhere: 0.9"]',
        "alternatives = []",
        "[] must be a list of at least 1, each a text",
    ),
    ('why = "Every public', 'wy = "Every public', 'unknown key; the nearest known is "why"'),
]


@pytest.mark.parametrize(("old", "new", "told"), MISTAKES)
def test_a_mistake_in_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = LEDGER.read_text()
    assert text.count(old) == 1
    Path("ledger.toml").write_text(text.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_ledger(Path("ledger.toml"))
    first = str(caught.value).splitlines()[0]
    assert re.fullmatch(r"ledger\.toml: points\[\d+\]\.\w+: " + re.escape(told), first)


def test_a_built_in_choice_without_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = LEDGER.read_text().replace("replication/data/batches.py", "replication/batch.py")
    Path("ledger.toml").write_text(text)
    with pytest.raises(SpecError, match=r'where: "replication/batch\.py" must be the file'):
        load_ledger(Path("ledger.toml"))
