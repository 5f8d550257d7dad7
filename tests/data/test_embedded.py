"""The generated sets: official layouts, aligned masks, the same content every time."""

import dataclasses
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_scripts import embedded as command
from replication.data import embedded
from replication.data.embedded import paint, scenes, sets, shapes, streets
from replication.errors import DataError

SMOKE = embedded.RECIPES["smoke"]
SPLITS = ("train", "trainaug", "val", "trainval", "dev", "test")
RNG_SEED = 5


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(scope="module")
def roots(cache: Path) -> dict[str, Path]:
    return {role: sets.ensure(SMOKE, role, cache) for role in embedded.ROLES}


def ids(devkit: Path, split: str) -> list[str]:
    return (devkit / f"VOC2012/ImageSets/Segmentation/{split}.txt").read_text().split()


def mask_of(devkit: Path, name: str) -> Path:
    found = [
        file
        for folder in ("SegmentationClass", "SegmentationClassAug")
        if (file := devkit / "VOC2012" / folder / f"{name}.png").is_file()
    ]
    assert len(found) == 1
    return found[0]


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


def values(path: Path) -> np.ndarray:
    return np.asarray(opened(path))


def test_voc_splits_have_their_counts_and_are_disjoint(roots: dict[str, Path]) -> None:
    lists = {split: ids(roots["voc"], split) for split in SPLITS}
    assert {split: len(names) for split, names in lists.items()} == {
        "train": 16, "trainaug": 32, "val": 8, "trainval": 24, "dev": 8, "test": 8,
    }  # fmt: skip
    assert lists["trainaug"][:16] == lists["train"]
    assert lists["trainval"] == lists["train"] + lists["val"]
    apart = [*lists["trainaug"], *lists["val"], *lists["dev"], *lists["test"]]
    assert len(set(apart)) == len(apart)


@pytest.mark.parametrize("role", ["voc", "coco"])
def test_every_listed_image_has_a_palette_mask_of_its_size(
    roots: dict[str, Path], role: str
) -> None:
    devkit = roots[role]
    classes = (devkit / "VOC2012/classes.txt").read_text().splitlines()
    seen: set[int] = set()
    for split in SPLITS if role == "voc" else ("train",):
        for name in ids(devkit, split):
            image = opened(devkit / f"VOC2012/JPEGImages/{name}.jpg")
            mask = opened(mask_of(devkit, name))
            assert (image.mode, mask.mode) == ("RGB", "P")
            assert image.size == mask.size == (SMOKE.size, SMOKE.size)
            assert mask.getpalette()[3:6] == [128, 0, 0]  # VOC's aeroplane
            seen |= set(np.unique(np.asarray(mask)).tolist())
    assert seen - {255} == set(range(len(classes)))


def test_class_names(roots: dict[str, Path]) -> None:
    voc = (roots["voc"] / "VOC2012/classes.txt").read_text().splitlines()
    coco = (roots["coco"] / "VOC2012/classes.txt").read_text().splitlines()
    assert voc[0] == coco[0] == "background"
    assert {"bicycle", "chair", "diningtable", "pottedplant", "sofa"} < set(voc)
    assert len(voc) == 13
    assert set(coco) - set(voc) == set(shapes.EXTRA)
    assert [name for name in coco if name in voc] != voc  # mapped by name, not by position


def test_official_masks_have_a_void_ring_and_extra_ones_have_none(roots: dict[str, Path]) -> None:
    train, extra = ids(roots["voc"], "train"), ids(roots["voc"], "trainaug")[16:]
    assert {mask_of(roots["voc"], name).parent.name for name in train} == {"SegmentationClass"}
    assert {mask_of(roots["voc"], name).parent.name for name in extra} == {"SegmentationClassAug"}
    assert all((values(mask_of(roots["voc"], name)) == 255).any() for name in train)
    assert not any((values(mask_of(roots["voc"], name)) == 255).any() for name in extra)


@pytest.mark.parametrize("index", range(len(scenes.VOC_CLASSES) - 1))
def test_one_scene_drawn_in_three_styles_differs_only_in_its_labels(index: int) -> None:
    alone = dataclasses.replace(SMOKE, scene=embedded.SceneRecipe(objects=(1, 1)))
    drawn = {
        style: scenes.scene(
            alone, scenes.VOC_CLASSES, index, style, np.random.default_rng(RNG_SEED)
        )
        for style in ("exact", "ringed", "coarse")
    }
    exact, ringed, coarse = (labels for _, labels in drawn.values())
    assert len({image.tobytes() for image, _ in drawn.values()}) == 1
    # The ring is one pixel of background beside the object, and all such pixels.
    inside = exact > 0
    assert ((ringed == 255) == (paint.grow(inside) & ~inside)).all()
    assert (ringed == exact)[ringed != 255].all()
    assert (coarse == exact)[inside].all()


def test_a_coarse_bicycle_has_no_holes_in_its_wheels() -> None:
    wheel = [shapes.ring(20, 20, 12, 2)]
    canvases = {
        style: paint.Canvas(
            rgb=np.zeros((40, 40, 3), np.float32), labels=np.zeros((40, 40), np.uint8), style=style
        )
        for style in ("ringed", "coarse")
    }
    for canvas in canvases.values():
        look = paint.Look(hue=0, saturation=1, value=1)
        canvas.paint(wheel, look, np.random.default_rng(0), 2)
    assert canvases["ringed"].labels[20, 20] == 0
    assert canvases["coarse"].labels[20, 20] == 2


def test_picture_and_mask_are_aligned_to_a_fraction_of_a_pixel() -> None:
    """A square that fills pixels 10 to 19 covers them wholly, and no others, in both."""
    canvas = paint.Canvas(
        rgb=np.zeros((30, 30, 3), np.float32), labels=np.zeros((30, 30), np.uint8)
    )
    square = shapes.polygon((10.1, 10.1), (19.9, 10.1), (19.9, 19.9), (10.1, 19.9))
    look = paint.Look(hue=0, saturation=0, value=1)
    canvas.paint([square], look, np.random.default_rng(0), 1)
    rows, columns = np.nonzero(canvas.labels)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 19, 10, 19)
    lit = canvas.rgb[..., 0] > 0
    assert (lit == (canvas.labels == 1)).all()
    assert canvas.rgb[lit].min() > 0.9


def test_paired_classes_share_an_outline_and_never_a_scene() -> None:
    for (one, _), (other, _) in scenes.PAIRS:
        kinds = scenes.kinds(3)
        assert kinds[one].outline == kinds[other].outline
        assert not set(kinds[one].scenes) & set(kinds[other].scenes)
        apart = scenes.kinds(0)
        assert apart[one].outline != apart[other].outline
    assert len(set(scenes.crop_classes(3))) == len(set(scenes.crop_classes(0))) == 12


def test_every_class_covers_pixels_in_a_sample() -> None:
    counts = np.zeros(256, np.int64)
    for i in range(120):
        rng = sets.image_rng(SMOKE, "voc", "sample", i)
        _, labels = scenes.scene(SMOKE, scenes.VOC_CLASSES, i, "ringed", rng)
        counts += np.bincount(labels.ravel(), minlength=256)
    foreground = counts[1:13] / counts[1:13].sum()
    assert foreground.min() > 0.02
    assert counts[13:255].sum() == 0


def test_all_nineteen_street_classes_occur() -> None:
    seen: set[int] = set()
    for i in range(40):
        rng = sets.image_rng(SMOKE, "cityscapes", "sample", i)
        seen |= set(np.unique(streets.street(SMOKE, rng)[1]).tolist())
    assert seen == {*range(19), 255}


def test_cityscapes_layout(roots: dict[str, Path]) -> None:
    root = roots["cityscapes"]
    for split, count in SMOKE.cityscapes:
        kind = "gtCoarse" if split == "train_extra" else "gtFine"
        images = sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
        assert len(images) == count
        for file in images:
            stem = file.name.removesuffix("_leftImg8bit.png")
            mask = opened(
                root / kind / split / file.parent.name / f"{stem}_{kind}_labelTrainIds.png"
            )
            assert (mask.mode, mask.size) == ("L", (129, 65))
            assert opened(file).size == mask.size
            assert set(np.unique(np.asarray(mask)).tolist()) <= {*range(19), 255}


def test_coarse_street_labels_are_the_fine_ones_or_void() -> None:
    fine_image, fine = streets.street(SMOKE, np.random.default_rng(RNG_SEED))
    coarse_image, coarse = streets.street(SMOKE, np.random.default_rng(RNG_SEED), coarse=True)
    assert fine_image.tobytes() == coarse_image.tobytes()
    assert (coarse == fine)[coarse != 255].all()
    assert 0.6 < (coarse != 255).mean() < 0.95


def test_imagenet_layout(roots: dict[str, Path]) -> None:
    for split, count in SMOKE.imagenet:
        folders = sorted((roots["imagenet"] / split).iterdir())
        assert [f.name for f in folders] == sorted(scenes.crop_classes(SMOKE.scene.pairs))
        files = [file for folder in folders for file in folder.glob("*.jpg")]
        assert len(files) == count
        assert {opened(file).size for file in files} == {(49, 49)}


@pytest.mark.parametrize("role", embedded.ROLES)
def test_two_makes_are_equal_in_every_byte(
    roots: dict[str, Path], cache: Path, tmp_path: Path, role: embedded.Role
) -> None:
    again = sets.make(SMOKE, role, tmp_path)
    assert again.new
    assert again.manifest == sets.verify(SMOKE, role, cache)


@pytest.mark.parametrize("role", embedded.ROLES)
def test_several_processes_make_the_same_set(
    roots: dict[str, Path],
    cache: Path,
    tmp_path: Path,
    role: embedded.Role,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sets, "_FEW", 8)
    calls: list[int] = []
    made = sets.make(SMOKE, role, tmp_path, lambda done, _: calls.append(done), processes=2)
    assert made.manifest == sets.verify(SMOKE, role, cache)
    assert calls == list(range(1, sum(made.manifest["counts"].values()) + 1))


def test_an_image_depends_neither_on_the_others_nor_on_their_number(
    roots: dict[str, Path], tmp_path: Path
) -> None:
    fewer = dataclasses.replace(SMOKE, coco=(("train", 3),))
    small = sets.ensure(fewer, "coco", tmp_path)
    for name in ids(small, "train"):
        file = f"VOC2012/JPEGImages/{name}.jpg"
        assert (small / file).read_bytes() == (roots["coco"] / file).read_bytes()


def test_a_second_ensure_does_nothing(roots: dict[str, Path], cache: Path) -> None:
    manifest = roots["voc"].parent / sets.MANIFEST
    before = manifest.stat().st_mtime_ns
    calls: list[tuple[int, int]] = []
    root = sets.ensure(SMOKE, "voc", cache, lambda done, total: calls.append((done, total)))
    assert root == roots["voc"]
    assert calls == []
    assert manifest.stat().st_mtime_ns == before


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    sets.ensure(SMOKE, "imagenet", tmp_path, lambda done, total: calls.append((done, total)))
    assert calls == [(i, 60) for i in range(1, 61)]


def test_a_half_made_set_is_not_used(tmp_path: Path) -> None:
    place = sets.home(SMOKE, "coco", tmp_path)
    remains = place / "VOCdevkit/VOC2012/JPEGImages/half.jpg"
    remains.parent.mkdir(parents=True)
    remains.write_bytes(b"not a picture")
    (place.parent / ".coco-dead").mkdir()
    root = sets.ensure(SMOKE, "coco", tmp_path)
    assert len(ids(root, "train")) == 24
    assert not remains.exists()
    assert not (place.parent / ".coco-dead").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_make_leaves_nothing(
    tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets, "_FEW", 8)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sets.ensure(SMOKE, "coco", tmp_path, stop, processes=processes)
    place = sets.home(SMOKE, "coco", tmp_path)
    assert not place.exists()
    assert [p.name for p in place.parent.iterdir() if p.is_dir()] == []


def test_several_at_once_make_one_set(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: sets.make(SMOKE, "imagenet", tmp_path), range(3)))
    assert sorted(one.new for one in made) == [False, False, True]


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    root = sets.ensure(SMOKE, "coco", tmp_path)
    sets.verify(SMOKE, "coco", tmp_path)
    (root / "VOC2012/classes.txt").write_text("background\n")
    with pytest.raises(DataError, match="files have changed"):
        sets.verify(SMOKE, "coco", tmp_path)


def test_the_fingerprint_follows_what_the_role_depends_on() -> None:
    def prints(recipe: embedded.Recipe) -> dict[str, str]:
        return {role: embedded.fingerprint(recipe, role) for role in embedded.ROLES}

    base = prints(SMOKE)
    assert len(set(base.values())) == 4
    assert prints(dataclasses.replace(SMOKE, name="other")) == base
    for change, touched in (
        ({"seed": 1}, set(embedded.ROLES)),
        ({"size": 81}, {"voc", "coco"}),
        ({"pretrain_size": 65}, {"imagenet"}),
        ({"scene": embedded.SceneRecipe(pairs=2)}, {"voc", "coco", "imagenet"}),
        ({"coco": (("train", 25),)}, {"coco"}),
    ):
        other = prints(dataclasses.replace(SMOKE, **change))
        assert {role for role in base if other[role] != base[role]} == touched


def test_other_sizes_scale_the_scene() -> None:
    """A larger frame shows the same share of foreground, not the same objects in a wide field."""
    share = {}
    for size in (65, 97):
        recipe = dataclasses.replace(SMOKE, size=size)
        labels = [
            scenes.scene(recipe, scenes.VOC_CLASSES, i, "exact", np.random.default_rng(i))[1]
            for i in range(60)
        ]
        assert labels[0].shape == (size, size)
        share[size] = np.mean([(one > 0).mean() for one in labels])
    assert share[97] == pytest.approx(share[65], rel=0.2)


@pytest.mark.parametrize(
    "change", [{"scene": embedded.SceneRecipe(pairs=4)}, {"size": 9}, {"street_size": (9, 129)}]
)
def test_a_recipe_that_cannot_be_drawn_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DataError, match="recipe smoke"):
        dataclasses.replace(SMOKE, **change)


def test_the_command_makes_then_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--root", str(tmp_path), "--recipe", "smoke", "--role", "coco"]
    assert command.main(arguments) == 0
    assert "coco       made     train 24" in capsys.readouterr().out
    assert command.main(arguments) == 0
    assert "verified" in capsys.readouterr().out
    manifest = next(tmp_path.glob("*/coco/embedded.json"))
    broken = json.loads(manifest.read_text()) | {"sha256": "0" * 64}
    manifest.write_text(json.dumps(broken))
    assert command.main(arguments) == 1
    assert "files have changed" in capsys.readouterr().err


def test_no_torch_is_imported() -> None:
    code = "import sys, replication.data.embedded as e; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
