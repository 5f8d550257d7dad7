"""The ledger: complete, true to the protocol, and strict."""

import re
from pathlib import Path

import pytest

from replication.errors import SpecError
from replication.ledger import (
    LEDGER,
    Point,
    check,
    for_tables,
    load_ledger,
    main,
    matches,
    other_tiers,
    overrides,
    page,
    read_tiers,
)
from replication.spec import Cell, load_tables
from replication.spec.protocol import load_protocol

HERE = Path(__file__).resolve().parents[1]
POINTS = load_ledger()
TABLES = load_tables(HERE / "tables")
TIERS = read_tiers(HERE / "tiers")


def ledger_fields() -> set[str]:
    source = (HERE / "replication/protocol.py").read_text()
    return set(re.findall(r"^    (\w+):.*# ledger", source, re.MULTILINE))


def test_every_field_marked_in_the_protocol_is_in_the_ledger() -> None:
    marked = ledger_fields()
    assert len(marked) >= 16
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
    assert printed == page(POINTS, TABLES, TIERS)
    for point in POINTS:
        assert f"## {point.topic}\n" in printed and point.why in printed
        assert all(other in printed for other in point.alternatives)


def test_the_page_in_the_documentation_is_up_to_date(tmp_path: Path) -> None:
    """Else: python -m replication.ledger --output docs/open-points.md"""
    assert main(["--output", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text() == (HERE / "docs/open-points.md").read_text()


def named(field: str) -> Point:
    return next(point for point in POINTS if point.field == field)


def test_where_a_field_is_overridden() -> None:
    assert overrides(named("momentum"), TABLES, TIERS) == {}
    # micro-dev has it from micro, where it stands.
    assert overrides(named("bn_decay"), TABLES, TIERS) == {
        "tiers/micro.toml": ("0.9", "0.9 in pretraining"),
        "tiers/reduced.toml": ("0.99",),
        "tiers/smoke.toml": ("0.9", "0.9 in pretraining"),
    }
    assert overrides(named("dropout"), TABLES, TIERS) == {
        "tables/ledger.toml": ("dropout-0.5: 0.5", "dropout-none: 0.0"),
    }
    assert overrides(named("whole_image"), TABLES, TIERS) == {
        "tables/ledger.toml": ("image-resized: resized",),
    }


def test_a_whole_tables_and_a_stages_override(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "protocol.toml").write_text((HERE / "tables/protocol.toml").read_text())
    text = (HERE / "tables/table06.toml").read_text()
    text = text.replace("[training]\n", "[training]\nscale_step = 0.0\n", 1)
    text = text.replace('split = "train"\n', 'split = "train"\nmomentum = 0.5\n', 1)
    (folder / "table06.toml").write_text(text)
    specs = load_tables(folder)
    assert overrides(named("scale_step"), specs, ()) == {"tables/table06.toml": ("0.0",)}
    assert overrides(named("momentum"), specs, ()) == {
        "tables/table06.toml": ("0.5 in stages.coco",)
    }


def test_the_cells_that_points_without_a_field_name() -> None:
    check(POINTS, TABLES)
    (replicas,) = (point for point in POINTS if point.topic == "Asynchronous replicas")
    assert [cell.id for table in TABLES for cell in table.cells if matches(replicas, cell)] == [
        "replicas2", "replicas4", "replicas8", "replicas16", "replicas32",
    ]  # fmt: skip
    with pytest.raises(SpecError, match=r"Asynchronous replicas: cells: .*names no cell") as told:
        check(POINTS, [table for table in TABLES if table.number != 11])
    assert len(str(told.value).splitlines()) == 2


def test_anothers_cells_are_not_the_papers(tmp_path: Path) -> None:
    assert for_tables(POINTS, HERE / "tables") == POINTS
    others = for_tables(POINTS, tmp_path)
    assert {point.field for point in others} >= ledger_fields()
    assert all(matches(point, Cell(id="x", table=1)) for point in others)


def test_a_tier_with_a_mistake_does_not_keep_others_from_the_page(tmp_path: Path) -> None:
    for path in (HERE / "tiers").glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "broken.toml").write_text("smary = 3\n")
    used = next(tier for tier in TIERS if tier.name == "micro")
    assert [tier.name for tier in other_tiers(tmp_path, used)] == [
        tier.name for tier in TIERS if tier is not used
    ]


MISTAKES = [
    (
        'field = "momentum"',
        'field = "momentun"',
        'no field "momentun"; the nearest known is "momentum"',
    ),
    ('field = "momentum"', 'field = "bn_decay"', '"bn_decay" is already that of points[5]'),
    ("choice = 0.9\n", 'choice = "0.9"\n', '"0.9" must be a number from 0 to below 1'),
    ("choice = 0.9\n", "", "missing; this key is required"),
    (
        'alternatives = [\n  "conceivable: as many images for every batch size",\n]',
        "alternatives = []",
        "[] must be a list of at least 1, each a text",
    ),
    ('why = "Every public', 'wy = "Every public', 'unknown key; the nearest known is "why"'),
    (
        'field = "momentum"',
        'field = "momentum"\ncells = ["table1/*"]',
        '["table1/*"] cannot stand beside a field, which says it itself',
    ),
    (
        'role = "imagenet"',
        'role = "image"',
        '"image" must be "voc", "coco", "cityscapes" or "imagenet"; the nearest is "imagenet"',
    ),
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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--output", "file/page.md"], "file"),
        (["--tiers", "no-such"], "no-such: no tiers here"),
        (["--tables", "no-such"], "no-such"),
    ],
)
def test_a_users_mistake_is_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and told in error and len(error.splitlines()) == 1


def test_a_built_in_choice_without_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = LEDGER.read_text().replace("prepare/coco_masks.py", "prepare/mask.py")
    Path("ledger.toml").write_text(text)
    points = load_ledger(Path("ledger.toml"))
    with pytest.raises(SpecError, match=r'where: no file "replication/data/prepare/mask\.py"$'):
        check(points, TABLES)
    text = LEDGER.read_text().replace('where = "tiers/paper.toml"\n', "")
    Path("ledger.toml").write_text(text)
    with pytest.raises(SpecError, match=r"\.where: missing; a point without a field names the"):
        load_ledger(Path("ledger.toml"))
