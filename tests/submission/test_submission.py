"""Archives for the test servers: written, read back, and every fault that was planted, named."""

import dataclasses
import fnmatch
import io
import tarfile
import types
import zipfile

import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import getPrediction
from cityscapesscripts.helpers.labels import labels as official_labels
from cityscapesscripts.helpers.labels import trainId2label
from PIL import Image
from rich.console import Console

from replication.data import layouts
from replication.data.prepare.meter import Meter
from replication.errors import DataError
from replication.evaluation import evaluate
from replication.network.deeplab import build
from replication.protocol import Evaluation
from replication.submission.check import faults
from replication.submission.servers import CITYSCAPES, VOC
from replication.submission.write import predictions, write
from tests.conftest import small_network
from tests.data.test_crops import ragged_set

SIZES = {"2008_000001": (20, 14), "2008_000002": (13, 21), "2012_000003": (16, 16)}  # w, h
FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
FRAMES = ("berlin_000000_000019", "bonn_000001_000019", "munich_000002_000019")


@pytest.fixture
def voc(tmp_path):
    """A test list of three images of different sizes, without masks."""
    home = tmp_path / "VOCdevkit/VOC2012"
    (home / "JPEGImages").mkdir(parents=True)
    (home / "ImageSets/Segmentation").mkdir(parents=True)
    for id_, size in SIZES.items():
        Image.new("RGB", size).save(home / f"JPEGImages/{id_}.jpg")
    (home / "ImageSets/Segmentation/test.txt").write_text("\n".join(SIZES) + "\n")
    return layouts.listing("voc", tmp_path / "VOCdevkit", "test", labelled=False)


@pytest.fixture
def cityscapes(tmp_path):
    for frame in FRAMES:
        folder = tmp_path / "city/leftImg8bit/test" / frame.split("_")[0]
        folder.mkdir(parents=True)
        Image.new("RGB", (24, 12)).save(folder / f"{frame}_leftImg8bit.png")
    return layouts.listing("cityscapes", tmp_path / "city", "test", labelled=False)


def masks(listing, seed=0):
    """Random classes by id, of each image's own size."""
    random = np.random.default_rng(seed)
    found = {}
    for id_, path in zip(listing.ids, listing.images, strict=True):
        with Image.open(path) as image:
            found[id_] = random.integers(0, len(listing.classes), image.size[::-1], dtype=np.uint8)
    return found


def check(archive, server, listing):
    return faults(archive, server, listing, Meter(Console(quiet=True), "checking"))


def png(values, mode="P"):
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    buffer = io.BytesIO()
    (image if image.mode == mode else image.convert(mode)).save(buffer, "PNG")
    return buffer.getvalue()


def plain(values):
    """A palette PNG of these very values."""
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    image.putpalette(bytes(768))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def sound(listing):
    """What a faultless VOC archive holds, by name."""
    return {f"{FOLDER}/{id_}.png": plain(mask) for id_, mask in masks(listing).items()}


def tgz(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items() if isinstance(members, dict) else members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_voc_is_written_as_the_development_kit_lays_it_out(voc, tmp_path):
    wanted = masks(voc)
    write(tmp_path / "a.tgz", VOC, wanted.items())
    assert check(tmp_path / "a.tgz", VOC, voc) == []
    with tarfile.open(tmp_path / "a.tgz") as tar:
        assert tar.getnames() == [f"{FOLDER}/{id_}.png" for id_ in SIZES]
        for id_, mask in wanted.items():
            with Image.open(tar.extractfile(f"{FOLDER}/{id_}.png")) as image:
                assert image.mode == "P" and image.size == SIZES[id_]
                assert np.array_equal(np.array(image), mask)


def test_the_palette_is_that_of_the_official_masks(voc, tmp_path, real_voc):
    write(tmp_path / "a.tgz", VOC, masks(voc).items())
    real = next(iter(sorted((real_voc / "VOC2012/SegmentationClass").glob("*.png"))))
    with tarfile.open(tmp_path / "a.tgz") as tar, Image.open(real) as official:
        ours = Image.open(tar.extractfile(tar.next()))
        assert ours.getpalette()[: 21 * 3] == official.getpalette()[: 21 * 3]


def test_cityscapes_is_written_as_its_evaluator_looks_for_it(cityscapes, tmp_path):
    wanted = masks(cityscapes)
    write(tmp_path / "a.zip", CITYSCAPES, wanted.items())
    assert check(tmp_path / "a.zip", CITYSCAPES, cityscapes) == []
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert len(archive.namelist()) == 3
        archive.extractall(tmp_path / "unpacked")
    where = types.SimpleNamespace(predictionPath=str(tmp_path / "unpacked"), predictionWalk=None)
    for frame, mask in wanted.items():
        found = getPrediction(where, f"/gt/{frame.split('_')[0]}/{frame}_gtFine_labelIds.png")
        with Image.open(found) as image:
            assert image.mode == "L"
            by_label = np.vectorize(lambda train_id: trainId2label[train_id].id)(mask)
            assert np.array_equal(np.array(image), by_label)


def test_the_same_predictions_are_the_same_bytes(voc, cityscapes, tmp_path):
    for server, listing in ((VOC, voc), (CITYSCAPES, cityscapes)):
        one, two = (tmp_path / name for name in ("one", "two"))
        write(one, server, masks(listing).items())
        write(two, server, masks(listing).items())
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_somebody_elses_sound_archive_passes(voc, tmp_path, mode):
    """Plain or compressed, with folders, ./ before the names, grey in place of a palette."""
    members = {f"./{name}": content for name, content in sound(voc).items()}
    members[f"./{FOLDER}/2008_000002.png"] = png(masks(voc)["2008_000002"], "L")
    with tarfile.open(tmp_path / "a.tar", mode) as tar:
        folder = tarfile.TarInfo(f"./{FOLDER}")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    assert check(tmp_path / "a.tar", VOC, voc) == []


def missing(members):
    del members[f"{FOLDER}/2008_000002.png"]


def extra(members):
    members[f"{FOLDER}/2011_009999.png"] = plain(np.zeros((4, 4)))


def stray_file(members):
    members["results/.DS_Store"] = b"x"


def wrong_size(members):
    members[f"{FOLDER}/2008_000002.png"] = plain(np.zeros((13, 21)))


def void(members):
    members[f"{FOLDER}/2008_000002.png"] = plain(np.full((21, 13), 255))


def beyond(members):
    values = np.zeros((21, 13))
    values[3, 4] = 21
    members[f"{FOLDER}/2008_000002.png"] = plain(values)


def many_values(members):
    values = np.arange(21 * 13).reshape(21, 13) % 30
    members[f"{FOLDER}/2008_000002.png"] = plain(values)


def coloured(members):
    members[f"{FOLDER}/2008_000002.png"] = png(np.zeros((21, 13)), "RGB")


def jpeg(members):
    buffer = io.BytesIO()
    Image.new("L", (13, 21)).save(buffer, "JPEG")
    members[f"{FOLDER}/2008_000002.png"] = buffer.getvalue()


def cut(members):
    members[f"{FOLDER}/2008_000002.png"] = members[f"{FOLDER}/2008_000002.png"][:60]


def wrong_folder(members):
    old = f"{FOLDER}/2008_000002.png"
    members["results/VOC2012/Segmentation/comp5_test_cls/2008_000002.png"] = members.pop(old)


def outside(members):
    members["../2008_000002.png"] = members.pop(f"{FOLDER}/2008_000002.png")


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (missing, f"{FOLDER}/2008_000002.png: missing; the list test has 2008_000002"),
        (extra, f"{FOLDER}/2011_009999.png: stands for no image of the list test"),
        (stray_file, "results/.DS_Store: stands for no image of the list test"),
        (wrong_size, f"{FOLDER}/2008_000002.png: 21x13 pixels; its image has 13x21"),
        (void, f"{FOLDER}/2008_000002.png: value 255; allowed are 0 to 20"),
        (beyond, f"{FOLDER}/2008_000002.png: value 21; allowed are 0 to 20"),
        (many_values, "2.png: values 21, 22, 23, 24, 25 and 4 more; allowed are 0 to 20"),
        (coloured, f"{FOLDER}/2008_000002.png: mode RGB; a prediction must be a palette or grey"),
        (jpeg, f"{FOLDER}/2008_000002.png: no readable PNG"),
        (cut, f"{FOLDER}/2008_000002.png: no readable PNG"),
        (wrong_folder, f"comp5_test_cls/2008_000002.png: wrong folder; it must be {FOLDER}/2008"),
        (outside, f"../2008_000002.png: wrong folder; it must be {FOLDER}/2008_000002.png"),
    ],
)
def test_a_planted_fault_is_named(voc, tmp_path, plant, named):
    members = sound(voc)
    plant(members)
    [problem] = check(tgz(tmp_path / "a.tgz", members), VOC, voc)
    assert named in problem and "\n" not in problem


def test_faults_that_names_alone_cannot_plant(voc, tmp_path):
    members = sound(voc)
    twice = [*members.items(), *list(members.items())[:1]]
    [problem] = check(tgz(tmp_path / "twice.tgz", twice), VOC, voc)
    assert problem == f"{FOLDER}/2008_000001.png: a second prediction for 2008_000001"
    with tarfile.open(tgz(tmp_path / "link.tar", members, "w"), "a") as tar:
        link = tarfile.TarInfo(f"{FOLDER}/2008_000001.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    [problem] = check(tmp_path / "link.tar", VOC, voc)
    assert problem == f"{FOLDER}/2008_000001.png: a link or a device; only files are taken"


def test_every_fault_has_its_line(voc, tmp_path):
    members = sound(voc)
    for plant in (missing, extra, stray_file):
        plant(members)
    members[f"{FOLDER}/2012_000003.png"] = plain(np.full((2, 2), 99))
    problems = check(tgz(tmp_path / "a.tgz", members), VOC, voc)
    assert len(problems) == 5 and sum("2012_000003.png" in one for one in problems) == 2


@pytest.mark.parametrize("kept", [0, 10, 0.5, -20])
def test_a_damaged_archive_is_one_line(voc, tmp_path, kept):
    content = tgz(tmp_path / "whole.tgz", sound(voc)).read_bytes()
    kept = int(kept * len(content)) if isinstance(kept, float) else kept
    (tmp_path / "a.tgz").write_bytes(content[:kept])
    [problem] = check(tmp_path / "a.tgz", VOC, voc)
    assert "a.tgz: damaged, or no .tgz or .tar.gz (" in problem and "\n" not in problem


def test_an_archive_with_changed_bytes_is_damaged(voc, cityscapes, tmp_path):
    for server, listing in ((VOC, voc), (CITYSCAPES, cityscapes)):
        write(tmp_path / "a", server, masks(listing).items())
        content = bytearray((tmp_path / "a").read_bytes())
        for position in range(100, len(content) - 300, 97):
            content[position] ^= 0x55
        (tmp_path / "a").write_bytes(content)
        problems = check(tmp_path / "a", server, listing)
        assert any("damaged" in one for one in problems)
        assert all("\n" not in one for one in problems)


def test_no_archive_at_all_is_wrong_input(voc, tmp_path):
    with pytest.raises(DataError, match=r"nothing\.tgz: no such file"):
        check(tmp_path / "nothing.tgz", VOC, voc)


@pytest.mark.parametrize(
    ("names", "value", "named"),
    [
        ({}, 7, ["berlin_000000_000019_labelIds.png: missing; the list test has berlin_000000_"]),
        (
            {"berlin_000000_000019.png", "deep/down/berlin_000000_000019_x.png"}, 7,
            [": a second prediction for berlin_000000_000019, after "],
        ),
        ({"berlin_000000_000019_leftImg8bit.jpg"}, 7, ["stands for no image", ": missing"]),
        ({"berlin_000009_000019_labelIds.png"}, 7, ["stands for no image", ": missing"]),
        # Parking has a label id and no train id; 255 and train ids have no place here either.
        (
            {"a/berlin_000000_000019_pred.png"}, 9,
            ["value 9; allowed are 7 to 8, 11 to 13, 17, 19 to 28, 31 to 33"],
        ),
        ({"berlin_000000_000019.png"}, 0, ["value 0; allowed"]),
        ({"berlin_000000_000019.png"}, 255, ["value 255; allowed"]),
    ],
    ids=["missing", "two", "jpg", "other frame", "parking", "unlabelled", "void"],
)  # fmt: skip
def test_cityscapes_faults(cityscapes, tmp_path, names, value, named):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for frame in FRAMES[1:]:
            archive.writestr(f"{frame}.png", png(np.full((12, 24), 26), "L"))
        for name in sorted(names):
            archive.writestr(name, png(np.full((12, 24), value), "L"))
    problems = check(tmp_path / "a.zip", CITYSCAPES, cityscapes)
    assert len(problems) == len(named)
    for one, text in zip(problems, named, strict=True):
        assert text in one


def test_the_values_that_cityscapes_scores():
    scored = {label.id for label in official_labels if 0 <= label.trainId < 255}
    assert CITYSCAPES.allowed(layouts.CITYSCAPES_CLASSES) == scored and len(scored) == 19
    assert VOC.allowed(layouts.VOC_CLASSES) == set(range(21))


def test_names_are_matched_as_the_evaluator_does():
    names = [
        "berlin_000000_000019.png",
        "berlin_000000_000019_labelIds.png",
        "._berlin_000000_000019.png",
        "berlin_000000_000019*.png",
        "berlin_000000.png",
        "berlin_000000_000019.jpg",
    ]
    for name in names:
        theirs = fnmatch.fnmatch(name, "berlin_000000_000019*.png")
        assert (CITYSCAPES.id_of(name) == "berlin_000000_000019") == theirs


def test_predictions_are_what_the_evaluation_counts_at_each_images_own_size():
    """Images of one batch differ in size; `evaluate` itself is tested against plain loops."""
    data = ragged_set([(33, 33), (20, 33), (33, 25), (33, 33), (40, 70)], seed=4)
    model = build(small_network(), 3, 16, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.classifier.weight.mul_(100)  # so that predictions vary
    one = Evaluation(
        data="voc", split="test", output_stride=16, crop_size=33, scales=(0.5, 1.0), flip=True
    )
    [counts] = evaluate(model, data, [one])
    found = dict(predictions(model, data, one))
    assert set(found) == set(data.ids)
    for i, id_ in enumerate(data.ids):
        assert found[id_].shape == tuple(data.sizes[i]) and found[id_].dtype == np.uint8
        pairs = np.bincount(data.mask(i).ravel() * 3 + found[id_].ravel(), minlength=9)
        assert np.array_equal(pairs.reshape(3, 3), counts[i])
        assert len(np.unique(found[id_])) > 1


def test_real_photographs_have_predictions_of_their_sizes(real_voc, tmp_path):
    """Real masks, handed in as predictions, with their void as background."""
    every = layouts.listing("voc", real_voc, "val")
    listing = dataclasses.replace(every, ids=every.ids[:12], images=every.images[:12])
    wanted = {}
    for id_, path in zip(listing.ids, every.masks, strict=False):
        with Image.open(path) as file:
            wanted[id_] = np.array(file)
    write(tmp_path / "a.tgz", VOC, wanted.items())
    problems = check(tmp_path / "a.tgz", VOC, listing)
    assert len(problems) == 12 and all("value 255; allowed are" in one for one in problems)
    assert len({mask.shape for mask in wanted.values()}) > 1
    write(tmp_path / "a.tgz", VOC, ((k, np.where(v == 255, 0, v)) for k, v in wanted.items()))
    assert check(tmp_path / "a.tgz", VOC, listing) == []
    write(tmp_path / "a.tgz", VOC, ((k, np.rot90(v) % 21) for k, v in wanted.items()))
    turned = [one for one in check(tmp_path / "a.tgz", VOC, listing) if "its image has" in one]
    assert len(turned) == sum(mask.shape[0] != mask.shape[1] for mask in wanted.values())
