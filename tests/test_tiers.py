"""Tiers: what a cell becomes at a tier's scale, and what a tier may not do."""

from pathlib import Path

import pytest

from replication.errors import SpecError
from replication.protocol import Evaluation, Network, Stage
from replication.spec import Cell, load_tables
from replication.tiers import Tier, load_tier, scale

HERE = Path(__file__).resolve().parents[1]
TIERS = HERE / "tiers"
TABLES = {t.number: t for t in load_tables(HERE / "tables") if t.number is not None}
CELLS = [cell for table in TABLES.values() for cell in table.cells]
NAMES = sorted(path.stem for path in TIERS.glob("*.toml"))


def parts(cell: Cell, tier: Tier) -> tuple[Network, Stage, Evaluation]:
    scaled = scale(cell, tier)
    assert scaled.network is not None and scaled.evaluation is not None
    return scaled.network, scaled.stages[-1].stage, scaled.evaluation


def test_the_paper_tier_scales_nothing() -> None:
    tier = load_tier("paper", TIERS)
    assert tier.comparable and not tier.generated("voc")
    assert (tier.weights, tier.pretraining) == ("torchvision", None)
    assert tier.data == {"voc": "", "coco": "", "cityscapes": "", "imagenet": ""}
    for cell in CELLS:
        assert scale(cell, tier) == cell


def test_only_the_paper_tier_is_comparable() -> None:
    assert [name for name in NAMES if load_tier(name, TIERS).comparable] == ["paper"]


@pytest.mark.parametrize("name", NAMES)
def test_scaled_protocols_are_valid(name: str) -> None:
    tier = load_tier(name, TIERS)
    assert tier.name == name
    for cell in CELLS:
        scaled = scale(cell, tier)
        for part in (scaled.network, scaled.evaluation, *(s.stage for s in scaled.stages)):
            if part is not None:
                assert type(part).model_validate(part.model_dump()) == part
        assert (scaled.id, scaled.published, scaled.sets) == (cell.id, cell.published, cell.sets)


@pytest.mark.parametrize("name", NAMES)
def test_scaling_keeps_cells_apart_and_together(name: str) -> None:
    """Cells share a training at every tier exactly where they share it in the paper."""
    tier = load_tier(name, TIERS)
    ours = [cell for cell in CELLS if cell.network]
    before = [(cell.network, cell.stages, cell.evaluation) for cell in ours]
    after = [(c.network, c.stages, c.evaluation) for c in (scale(cell, tier) for cell in ours)]
    assert [before.index(one) for one in before] == [after.index(one) for one in after]


def test_the_micro_tier() -> None:
    tier = load_tier("micro", TIERS)
    assert set(tier.data.values()) == {"embedded:micro"} and tier.generated("voc")
    network, stage, evaluation = parts(TABLES[5].cell("mg124-rate24"), tier)
    assert network.multi_grid == (1, 2, 4) and network.stem_stride == 1
    assert stage.output_stride == evaluation.output_stride == 16
    assert (stage.crop_size, evaluation.crop_size) == (65, 65)
    _, stage, evaluation = parts(TABLES[8].cell("crop321-ul-bn"), tier)
    assert (stage.crop_size, evaluation.crop_size) == (41, 65)


def test_the_development_tier_differs_only_in_what_it_looks_at() -> None:
    micro, dev = load_tier("micro", TIERS), load_tier("micro-dev", TIERS)
    assert dev.first_seed != micro.first_seed
    assert (dev.pretraining, dev.scales, dev.training, dev.data) == (
        micro.pretraining, micro.scales, micro.training, micro.data
    )  # fmt: skip
    for cell in CELLS:
        one, other = scale(cell, micro), scale(cell, dev)
        assert (one.network, one.stages) == (other.network, other.stages)
        if other.evaluation is not None and other.evaluation.data == "voc":
            assert other.evaluation.split == "dev"


def test_the_quick_tier_is_shorter_and_no_smaller() -> None:
    bf16, quick = load_tier("micro-bf16", TIERS), load_tier("micro-quick", TIERS)
    for cell in CELLS:
        one, other = scale(cell, bf16), scale(cell, quick)
        assert one.evaluation == other.evaluation
        for a, b in zip(one.stages, other.stages, strict=True):
            assert (a.stage.iterations, b.stage.iterations) == (700, 600)
            assert a.stage.model_copy(update={"iterations": 600}) == b.stage
        if one.network is not None and other.network is not None:
            gain = 2.0 if one.network.head == "aspp" else 1.0
            assert one.network.model_copy(update={"aspp_gain": gain}) == other.network
    assert quick.pretraining is not None and bf16.pretraining is not None
    shorter = quick.pretraining.model_copy(update={"iterations": bf16.pretraining.iterations})
    assert shorter == bf16.pretraining


def test_the_smoke_tier_takes_two_iterations() -> None:
    tier = load_tier("smoke", TIERS)
    assert {one.stage.iterations for cell in CELLS for one in scale(cell, tier).stages} == {2}
    assert tier.pretraining is not None and tier.pretraining.iterations == 2


TIER = """\
summary = "a test"
comparable = false
threads = 1
first_seed = 0
seeds = 1
single_seed_margin = 1.0

[data]
voc = "embedded:micro"

[scale]
iterations = 0.1
crop_size = { voc = 0.5, coco = 0.5, cityscapes = 0.25 }
learning_rate = 14.2857143
atrous_rates = 0.1
batch_size = 0.25

[training]
bn_decay = 0.9
dropout = 0.5

[stages.coco]
momentum = 0.5

[backbones.resnet50]
units = [1, 1, 1, 3]

[pretraining]
weights = "torchvision"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiers = Path("tiers")
    tiers.mkdir()
    (tiers / "small.toml").write_text(TIER)
    return tiers


def test_each_factor(folder: Path) -> None:
    tier = load_tier("small", folder)
    assert tier.data == {"voc": "embedded:micro", "coco": "", "cityscapes": "", "imagenet": ""}
    network, stage, evaluation = parts(TABLES[9].cell("batch4"), tier)
    assert network.atrous_rates == (1, 1, 2)
    assert (network.dropout, network.units) == (0.5, (3, 4, 23, 3))
    assert (stage.iterations, stage.crop_size, evaluation.crop_size) == (3000, 257, 257)
    assert (stage.learning_rate, stage.bn_decay) == (0.1, 0.9)
    assert stage.batch_size == 2  # a batch of one has no statistics
    network, stage, _ = parts(TABLES[1].cell("os8"), tier)
    assert (network.units, network.dropout) == ((1, 1, 1, 3), 0.0)
    _, stage, _ = parts(TABLES[12].cells[0], tier)
    assert (stage.iterations, stage.crop_size) == (9000, 193)
    coco, train = scale(TABLES[6].cells[-1], tier).stages
    assert (coco.stage.momentum, train.stage.momentum) == (0.5, 0.9)
    assert train.stage.learning_rate == 0.001429


def test_a_tier_extends_another(folder: Path) -> None:
    child = folder / "child.toml"
    child.write_text(
        'extends = "small"\nseeds = 5\n[training]\ndropout = 0.25\n'
        '[evaluation_splits]\nvoc.val = "dev"\n'
    )
    tier = load_tier("child", folder)
    assert (tier.name, tier.seeds, tier.threads) == ("child", 5, 1)
    assert tier.training == {"bn_decay": 0.9, "dropout": 0.25}
    assert tier.sets["dropout"] == "tiers/child.toml: training.dropout"
    assert tier.sets["bn_decay"] == "tiers/small.toml: training.bn_decay"
    _, _, evaluation = parts(TABLES[9].cell("batch4"), tier)
    assert evaluation.split == "dev"
    assert load_tier(str(child), folder) == tier


@pytest.mark.parametrize(
    ("line", "key", "table", "cell", "where"),
    [
        ("batch_size = 8", "batch_size", 9, "batch4", "table09.toml: grid.rows.batch_size"),
        (
            "output_stride = 8", "output_stride", 10, "train8-eval8",
            "table10.toml: cells[3].output_stride",
        ),
        (
            "learning_rate = 0.1", "learning_rate", 6, "os8-ms-flip-coco",
            "table06.toml: cells[4].stages.train.learning_rate",
        ),
        ("split = \"train\"", "split", 12, "os8", "table12.toml: training.split"),
    ],
)  # fmt: skip
def test_a_tier_does_not_set_what_a_table_sets(
    folder: Path, line: str, key: str, table: int, cell: str, where: str
) -> None:
    (folder / "bad.toml").write_text(f'extends = "small"\n[training]\n{line}\n')
    tier = load_tier("bad", folder)
    with pytest.raises(SpecError) as caught:
        scale(TABLES[table].cell(cell), tier)
    (told,) = str(caught.value).splitlines()
    assert told.startswith(f"tiers/bad.toml: training.{key}: {key} is set by ")
    assert told.endswith(f"{where}; a tier may scale what a table sets, not set it")


def test_an_evaluation_that_tables_vary_is_not_set_either(folder: Path) -> None:
    (folder / "bad.toml").write_text('extends = "small"\n[evaluation]\nflip = true\n')
    tier = load_tier("bad", folder)
    with pytest.raises(SpecError, match=r"bad\.toml: evaluation\.flip: .*cells\[3\]\.evaluation"):
        scale(TABLES[4].cell("os8-ms-flip"), tier)
    _, _, evaluation = parts(TABLES[4].cell("os8"), tier)
    assert evaluation.flip


MISTAKES = [
    ("seeds = 1", "seds = 1", 'seds: unknown key; the nearest known is "seeds"'),
    ("seeds = 1", "seeds = 0", "seeds: 0 must be a whole number of at least 1"),
    ('summary = "a test"', "", "summary: missing; this key is required"),
    ("comparable = false", 'comparable = "no"', 'comparable: "no" must be true or false'),
    (
        'voc = "embedded:micro"',
        'vok = "embedded:micro"',
        'data.vok: unknown key; the nearest known is "voc"',
    ),
    (
        "iterations = 0.1",
        "iteration = 0.1",
        'scale.iteration: unknown key; the nearest known is "iterations"',
    ),
    ("iterations = 0.1", "iterations = 0", "scale.iterations: 0 must be a number above 0"),
    (
        "voc = 0.5, coco = 0.5,",
        "voc = 0.5,",
        "scale.crop_size.coco: missing; this key is required",
    ),
    (
        "bn_decay = 0.9",
        "bn_decay = 1.0",
        "training.bn_decay: 1.0 must be a number from 0 to below 1",
    ),
    (
        "[backbones.resnet50]",
        "[backbones.resnet5]",
        'backbones.resnet5: unknown backbone; the nearest known is "resnet50"',
    ),
    (
        "units = [1, 1, 1, 3]",
        "units = [1, 1, 1, 2]",
        "backbones.resnet50.units: [1, 1, 1, 2] must be a list of 4: a whole number of at "
        "least 1, a whole number of at least 1, a whole number of at least 1, 3",
    ),
    (
        "units = [1, 1, 1, 3]",
        "stem_stride = 3",
        "backbones.resnet50.stem_stride: 3 must be 1, 2 or 4",
    ),
    (
        'weights = "torchvision"',
        'weights = "torchvison"',
        'pretraining.weights: "torchvison" must be "torchvision" or "random"; '
        'the nearest is "torchvision"',
    ),
    (
        'weights = "torchvision"',
        'weights = "torchvision"\niterations = 2000',
        "pretraining.iterations: cannot stand beside weights, which take a pretraining's place",
    ),
    (
        '[pretraining]\nweights = "torchvision"',
        "",
        'pretraining: missing; give weights = "torchvision" or "random", or a training on imagenet',
    ),
]


@pytest.mark.parametrize(("old", "new", "line"), MISTAKES)
def test_a_mistake_in_a_tier(folder: Path, old: str, new: str, line: str) -> None:
    assert old in TIER
    (folder / "small.toml").write_text(TIER.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        load_tier("small", folder)
    told = str(caught.value).splitlines()
    assert told == [f"tiers/small.toml: {line}"]


def test_unknown_tiers(folder: Path) -> None:
    with pytest.raises(SpecError, match=r'^tiers: no tier "smal"; the nearest known is "small"$'):
        load_tier("smal", folder)
    elsewhere = folder / "empty"
    elsewhere.mkdir()
    with pytest.raises(SpecError, match=r'empty: no tier ".*mine\.toml"; there is no \.toml file$'):
        load_tier(str(elsewhere / "mine.toml"), folder)
    (folder / "child.toml").write_text('extends = "smal"\n')
    with pytest.raises(SpecError) as caught:
        load_tier("child", folder)
    expected = 'tiers/child.toml: extends: no tier "smal"; the nearest known is "small"'
    assert str(caught.value) == expected


def test_a_tier_cannot_extend_itself(folder: Path) -> None:
    (folder / "one.toml").write_text('extends = "two"\n')
    (folder / "two.toml").write_text('extends = "one"\n')
    with pytest.raises(SpecError, match="one extends two extends one; a tier cannot extend itself"):
        load_tier("one", folder)


def test_a_tier_sets_the_arithmetic_of_every_step(folder: Path) -> None:
    (folder / "half.toml").write_text(
        'extends = "small"\n[training]\nprecision = "bf16"\ndeterministic = true\n'
        '[evaluation]\nprecision = "bf16"\n'
    )
    tier = load_tier("half", folder)
    for cell in CELLS:
        scaled = scale(cell, tier)
        for named in scaled.stages:
            assert (named.stage.precision, named.stage.deterministic) == ("bf16", True)
        if scaled.evaluation is not None:
            assert (scaled.evaluation.precision, scaled.evaluation.deterministic) == ("bf16", False)


def test_parts_that_a_tiers_batch_does_not_have(folder: Path) -> None:
    (folder / "parts.toml").write_text('extends = "small"\n[training]\naccumulate = 4\n')
    tier = load_tier("parts", folder)
    with pytest.raises(SpecError) as caught:
        scale(TABLES[9].cell("batch12"), tier)
    assert str(caught.value) == (
        "tiers/parts.toml: stage train of table9/batch12 at this tier: accumulate = 4 must divide "
        "batch_size = 3: all parts are of one size"
    )


def test_a_pretraining_may_leave_out_what_has_a_default(folder: Path) -> None:
    micro = (TIERS / "micro.toml").read_text()
    (folder / "own.toml").write_text(
        micro.replace(
            "bn_decay = 0.9\n# The unit", 'bn_decay = 0.9\nprecision = "bf16"\n# The unit'
        )
    )
    before, after = load_tier("micro", TIERS).pretraining, load_tier("own", folder).pretraining
    assert before is not None and before.precision == "fp32"
    assert after == before.model_copy(update={"precision": "bf16"})
