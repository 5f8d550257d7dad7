"""Malformed specs: each mistake is one line that names file, key, value and what is allowed."""

from pathlib import Path

import pytest

from tests.spec_samples import GRID, LIST, changed, folder, one, problems  # noqa: F401

# (what changes in LIST, what it becomes, the one line after "tables/table.toml: ")
MISTAKES = [
    ("[training]", "[trainig]", 'trainig: unknown key; the nearest known is "training"'),
    ("number = 5", "", "number: missing; this key is required"),
    ('source = "a paper, Table 5"', "", "source: missing; this key is required"),
    ("number = 5", 'number = "5"', 'number: "5" must be a whole number of at least 1'),
    ("number = 5", "number = true", "number: true must be a whole number of at least 1"),
    ('title = "A list"', 'title = ""', 'title: "" must be a text'),
    ('bold = "both"', 'bold = "boht"', 'bold: no cell "boht"; the nearest known is "both"'),
    (
        'head = "aspp"',
        'head = "asp"',
        'training.head: "asp" must be "cascade" or "aspp"; the nearest is "aspp"',
    ),
    (
        'head = "aspp"',
        'head = "aspp"\noutput_strid = 8',
        'training.output_strid: unknown key; the nearest known is "output_stride"',
    ),
    (
        'head = "aspp"',
        'head = "aspp"\noutput_stride = 12',
        "training.output_stride: 12 must be a power of two from 4 to 256",
    ),
    (
        'head = "aspp"',
        'head = "aspp"\nbackbone = "resnet11"',
        'training.backbone: "resnet11" must be "resnet50" or "resnet101"; '
        'the nearest is "resnet101"',
    ),
    (
        'head = "aspp"',
        'head = "aspp"\nunits = [1, 1, 1, 3]',
        "training.units: unknown key; known: backbone, last_block, multi_grid, multi_grid_rule, "
        "head, atrous_rates, atrous_rates_at_32, image_pooling, stride_unit, first_unit_rate, "
        "align_corners, dropout, bn_epsilon, extra_block_gamma, aspp_gain, data, split, "
        "output_stride, crop_size, batch_size, iterations, learning_rate, power, momentum, "
        "weight_decay, head_learning_rate_factor, batch_norm, frozen_bn, bn_decay, "
        "upsample_logits, label_grid, loss_normalisation, scale_range, scale_step, flip, padding, "
        "duplicate, replicas, accumulate, precision, deterministic",
    ),
    (
        'head = "aspp"',
        'head = "aspp"\ncrop_size = 513.0',
        "training.crop_size: 513.0 must be a whole number of at least 9",
    ),
    (
        'head = "aspp"',
        'head = "aspp"\nflip = 1',
        "training.flip: 1 must be true or false",
    ),
    (
        'head = "aspp"',
        'head = "aspp"\nmomentum = 1.0',
        "training.momentum: 1.0 must be a number from 0 to below 1",
    ),
    (
        'head = "aspp"',
        'head = "aspp"\nlearning_rate = inf',
        "training.learning_rate: inf must be finite",
    ),
    (
        "published = 76.0",
        'published = 76.0\nalso = { hours = "2" }',
        'cells[1].also: {hours = "2"} must be a table of keys and values, each value a number',
    ),
    (
        'head = "aspp"',
        'head = "aspp"\nlearning_rate = 0',
        "training.learning_rate: 0 must be a number above 0",
    ),
    (
        'head = "aspp"',
        'head = "aspp"\nlast_block = 8',
        "training.last_block: 8 must be a whole number from 4 to 7",
    ),
    (
        'head = "aspp"',
        'head = "aspp"\nscale_range = [2.0, 0.5]',
        "cells[0]: scale_range = [2.0, 0.5] must not be larger at its start than at its end "
        "(and in 2 more cells)",
    ),
    (
        'head = "aspp"',
        'head = "aspp"\natrous_rates = []',
        'cells[0]: head = "aspp" must have at least one of atrous_rates (and in 2 more cells)',
    ),
    (
        "multi_grid = [1, 2, 1]\npublished",
        "multi_grid = [1, 2]\npublished",
        "cells[1].multi_grid: [1, 2] must be a list of 3: each a whole number of at least 1",
    ),
    (
        "multi_grid = [1, 2, 1]\npublished",
        'multi_grid = "1, 2, 1"\npublished',
        'cells[1].multi_grid: "1, 2, 1" must be a list of 3: each a whole number of at least 1',
    ),
    (
        "multi_grid = [1, 2, 1]\npublished",
        "multigrid = [1, 2, 1]\npublished",
        'cells[1].multigrid: unknown key; the nearest known is "multi_grid"',
    ),
    (
        "multi_grid = [1, 2, 1]\npublished",
        'head = "cascade"\nimage_pooling = true\npublished',
        'cells[1]: image_pooling = true has no effect with head = "cascade"; use "aspp"',
    ),
    (
        '[[cells]]\nid = "pspnet"',
        '[[cells]]\nid = "plain"\npublished = 70.0\n\n[[cells]]\nid = "pspnet"',
        'cells[3].id: "plain" is already the id of cells[0]',
    ),
    ('id = "grid"\n', "", "cells[1].id: missing; this key is required"),
    ("published = 76.0", "", "cells[1].published: missing; this key is required"),
    (
        "published = 76.0",
        "published = 760.0",
        "cells[1].published: 760.0 must be a number from 0 to 100",
    ),
    (
        "published = 76.0",
        'published = "76.0"',
        'cells[1].published: "76.0" must be a number from 0 to 100',
    ),
    (
        "published = 76.0",
        'published = 76.0\nneeds = "test labels"',
        'cells[1].unavailable: missing; needs = "test labels" asks for the reason',
    ),
    (
        "published = 76.0",
        'published = 76.0\nunavailable = "why"\nneeds = "tset labels"',
        'cells[1].needs: "tset labels" must be "test labels"',
    ),
    (
        'chain = ["coco", "train"]',
        'chain = ["cocoa", "train"]',
        'cells[2].chain: no stage "cocoa"; the nearest known is "coco"',
    ),
    (
        'chain = ["coco", "train"]',
        "chain = []",
        "cells[2].chain: [] must name at least one stage, and each once",
    ),
    (
        "stages.train.learning_rate",
        "stages.trian.learning_rate",
        'cells[2].stages: no stage "trian"; the nearest known is "train"',
    ),
    (
        "stages.train.learning_rate = 0.0001",
        "stages.train.last_block = 4",
        "cells[2].stages.train.last_block: unknown key; known: data, split, output_stride, "
        "crop_size, batch_size, iterations, learning_rate, power, momentum, weight_decay, "
        "head_learning_rate_factor, batch_norm, frozen_bn, bn_decay, upsample_logits, label_grid, "
        "loss_normalisation, scale_range, scale_step, flip, padding, duplicate, replicas, "
        "accumulate, precision, deterministic",
    ),
    (
        "scales = [0.5, 1.0]",
        "scales = []",
        "cells[2].evaluation.scales: [] must be a list of at least 1, "
        "each a number above 0 and of at most 4",
    ),
    (
        "evaluation = { output_stride = 8,",
        'evaluation = { split = "trainaug",',
        'cells[2]: evaluation.split = "trainaug" is trained on: stage train has "trainaug"',
    ),
    (
        "evaluation = { output_stride = 8,",
        'evaluation = { data = "cityscapes",',
        'cells[2]: evaluation.data = "cityscapes" has other classes than the last stage\'s data '
        '"voc"',
    ),
    (
        'data = "coco"',
        'data = "cocos"',
        'stages.coco.data: "cocos" must be "voc", "coco" or "cityscapes"; the nearest is "coco"',
    ),
    (
        'method = "PSPNet"',
        'method = "PSPNet"\ncrop_size = 473',
        "cells[3].crop_size: 473 cannot stand beside method, which is published only",
    ),
    (
        'method = "PSPNet"',
        'method = "PSPNet"\nevaluation = { flip = true }',
        "cells[3].evaluation: {flip = true} cannot stand beside method, which is published only",
    ),
    (
        'key = "evaluation.scales"',
        'key = "evaluation.scale"',
        'columns[1].key: no such column "evaluation.scale"; '
        'the nearest known is "evaluation.scales"',
    ),
    (
        'tick = "coco"',
        'tick = "cooc"',
        'columns[2].tick: no stage "cooc"; the nearest known is "coco"',
    ),
    (
        "tick = [1, 2, 1]",
        "tick = [1, 2]",
        "columns[0].tick: [1, 2] must be a list of 3: each a whole number of at least 1",
    ),
    (
        "tick = [1, 2, 1]",
        "tick = [1, 2, 1], tick_unless = [1, 1, 1]",
        "columns[0]: tick and tick_unless given; must have at most one",
    ),
    (
        '["grid", "plain"]',
        '["gird", "plain"]',
        'claims[0].greater: no cell "gird"; the nearest known is "grid"',
    ),
    (
        '["grid", "plain"]',
        '["grid", "pspnet"]',
        'claims[0].greater: "pspnet" is another method\'s row, which is never measured',
    ),
    (
        '["grid", "plain"]',
        '["grid", "grid"]',
        'claims[0].greater: "grid" is compared with itself',
    ),
    (
        '["grid", "plain"]',
        '["grid"]',
        'claims[0].greater: [["grid"]] must be a list of at least 1, '
        "each a list of 2: each a string",
    ),
    (
        'greater = [["grid", "plain"]]',
        "",
        "claims[0]: none given; must have exactly one of greater, order, best, similar, no_worse",
    ),
    (
        'greater = [["grid", "plain"]]',
        'greater = [["grid", "plain"]]\nbest = "grid"',
        "claims[0]: greater and best given; must have exactly one of greater, order, best, "
        "similar, no_worse",
    ),
    (
        'greater = [["grid", "plain"]]',
        "greater = []",
        "claims[0].greater: [] must be a list of at least 1, each a list of 2: each a string",
    ),
    (
        "by = 1.0",
        "within = 1.0",
        "claims[0].within: 1.0 belongs to similar and no_worse, this claim is greater",
    ),
    (
        'greater = [["grid", "plain"]]\nby = 1.0',
        'similar = [["grid", "plain"]]',
        "claims[0].within: missing; similar needs the points that count as equal",
    ),
    (
        'greater = [["grid", "plain"]]\nby = 1.0',
        'no_worse = [["grid", "plain"]]',
        "claims[0].within: missing; no_worse needs the points that count as equal",
    ),
    ('says = "Multi-grid helps by 1%."', "", "claims[0].says: missing; this key is required"),
]


@pytest.mark.parametrize(("old", "new", "line"), MISTAKES)
def test_a_mistake_in_a_list(folder: Path, old: str, new: str, line: str) -> None:
    told = problems(folder, changed(LIST, old, new))
    assert told == [f"tables/table.toml: {line}"]


def test_a_syntax_error_names_file_and_line(folder: Path) -> None:
    (line,) = problems(folder, "number = 3\ntitle = \n")
    assert line == "tables/table.toml: not valid TOML: Invalid value (at line 2, column 9)"


def test_two_files_with_one_number(folder: Path) -> None:
    (folder / "table1.toml").write_text(GRID)
    (line,) = problems(folder, GRID, "table2.toml")
    assert line == "tables/table2.toml: number: 3 is already the number of tables/table1.toml"


def test_a_file_that_would_not_be_read(folder: Path) -> None:
    (line,) = problems(folder, GRID, "tabel03.toml")
    assert line == (
        "tables/tabel03.toml: number: 3 must stand in a file named table*.toml; others have a name"
    )


def test_all_mistakes_of_all_files_at_once(folder: Path) -> None:
    (folder / "table1.toml").write_text(changed(GRID, "[70.0, 76.5]", "[70.0, 101]"))
    text = changed(changed(LIST, "published = 76.0", "published = -1"), '"aspp"', '"asp"')
    assert problems(folder, text, "table2.toml") == [
        "tables/table1.toml: grid.published[1][1]: 101 must be a number from 0 to 100",
        'tables/table2.toml: training.head: "asp" must be "cascade" or "aspp"; '
        'the nearest is "aspp"',
        "tables/table2.toml: cells[1].published: -1 must be a number from 0 to 100",
    ]


def test_a_broken_protocol(folder: Path) -> None:
    protocol = folder / "protocol.toml"
    whole = protocol.read_text()
    protocol.write_text(changed(whole, "momentum = 0.9 ", "momentun = 0.9 "))
    assert problems(folder, GRID) == [
        'tables/protocol.toml: training.momentun: unknown key; the nearest known is "momentum"',
        "tables/protocol.toml: training.momentum: missing; this key is required",
    ]
    protocol.write_text(changed(whole, "[backbones.resnet101]", "[backbones.resnet102]"))
    assert problems(folder, GRID) == [
        "tables/protocol.toml: backbones.resnet102: unknown backbone; "
        'the nearest known is "resnet101"',
        "tables/protocol.toml: backbones.resnet101: missing; this section is required",
    ]
    protocol.unlink()
    assert problems(folder, GRID) == [
        "tables/protocol.toml: cannot be read: No such file or directory"
    ]
