"""ImageNet weights: torchvision's own table of files, a local server, and the real partial file."""

import functools
import hashlib
import io

import pytest
import torch
import torchvision
from local_server import running

from data_scripts import imagenet_weights as script
from replication.data.prepare import imagenet_weights
from replication.data.prepare.download import Archive
from replication.data.prepare.imagenet_weights import OFFICIAL
from tests.conftest import SHARED

PARTIAL = SHARED / "data/weights/resnet50-imagenet-partial.pth"


@functools.cache
def shapes(backbone):
    """The names and shapes of torchvision's own network; one stored number stands for a tensor."""
    with torch.device("meta"):
        network = getattr(torchvision.models, backbone)(weights=None)
    return {
        name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
        for name, tensor in network.state_dict().items()
    }


def state_of(backbone):
    return dict(shapes(backbone))


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.fixture
def web(monkeypatch):
    """A server, and OFFICIAL naming files of torchvision's names and shapes on it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as server:
        for backbone, version in OFFICIAL:
            publish(monkeypatch, server, backbone, version, state_of(backbone))
        yield server


def publish(monkeypatch, server, backbone, version, state):
    # The version is in the file, so that the two versions' files differ.
    content = saved(state) + version.encode()
    digits = hashlib.sha256(content).hexdigest()[:8]
    name = f"{backbone}-{digits}.pth"
    server.serve(name, content)
    archive = Archive(url=f"{server.address}/{name}", name=name, sha256=digits)
    monkeypatch.setitem(OFFICIAL, (backbone, version), archive)


def served(web, backbone, version="V1"):
    return web.files[f"/{OFFICIAL[backbone, version].name}"]


def run(root, *arguments):
    return script.main(["--root", str(root), *map(str, arguments)])


def refused(capsys):
    """The one line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_official_files_are_torchvisions():
    for backbone, table in [
        ("resnet50", torchvision.models.ResNet50_Weights),
        ("resnet101", torchvision.models.ResNet101_Weights),
    ]:
        assert {weights.name for weights in table} == {"IMAGENET1K_V1", "IMAGENET1K_V2"}
        for weights in table:
            archive = OFFICIAL[backbone, weights.name.removeprefix("IMAGENET1K_")]
            assert archive.url == weights.url and archive.url.endswith(archive.name)
            assert weights.url == f"{archive.url[:-12]}{archive.sha256}.pth"


def test_both_are_downloaded_and_then_only_verified(web, tmp_path, capsys):
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    paths = {b: tmp_path / "weights" / OFFICIAL[b, "V1"].name for b in ("resnet50", "resnet101")}
    for backbone, path in paths.items():
        assert path.read_bytes() == served(web, backbone).content
        assert f"--weights {backbone}={path}" in out
    # All but fc: 53 and 104 convolutions, as many BN layers of five tensors each.
    assert f"{53 * 6} loaded, 2 unused" in out and f"{104 * 6} loaded, 2 unused" in out
    assert out.count("unused: fc") == 2
    before = [path.stat().st_mtime_ns for path in paths.values()]
    assert run(tmp_path) == 0
    assert [len(served(web, backbone).asked) for backbone in paths] == [1, 1]
    assert [path.stat().st_mtime_ns for path in paths.values()] == before


def test_one_backbone_in_the_other_version(web, tmp_path, capsys):
    assert run(tmp_path, "--backbone", "resnet50", "--version", "V2") == 0
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [
        OFFICIAL["resnet50", "V2"].name
    ]
    assert "torchvision's V2" in capsys.readouterr().out


def test_a_break_is_gone_on_with(web, tmp_path):
    file = served(web, "resnet50")
    file.breaks = [1000]
    assert run(tmp_path, "--backbone", "resnet50") == 0
    assert file.asked == [None, "bytes=1000-"]


def test_other_bytes_under_an_official_name_are_refused(web, tmp_path, capsys):
    file = served(web, "resnet50")
    file.content = file.content[:-1] + b"?"
    assert run(tmp_path, "--backbone", "resnet50") == 2
    line = refused(capsys)
    assert OFFICIAL["resnet50", "V1"].sha256 + " expected" in line
    assert hashlib.sha256(file.content).hexdigest() in line
    assert not list((tmp_path / "weights").iterdir())


def test_a_missing_file_on_the_server_is_one_line(web, tmp_path, capsys):
    del web.files[f"/{OFFICIAL['resnet101', 'V1'].name}"]
    assert run(tmp_path, "--backbone", "resnet101") == 2
    assert "404" in refused(capsys)


def test_ones_own_official_files_are_told_by_their_sums(web, tmp_path, capsys):
    own = []
    for backbone in ("resnet101", "resnet50"):
        own += [tmp_path / f"my-{backbone}.pth"]
        own[-1].write_bytes(served(web, backbone).content)
    assert run(tmp_path / "data", "--archive", own[0], "--archive", own[1]) == 0
    out = capsys.readouterr().out
    assert f"--weights resnet50={own[1]} --weights resnet101={own[0]}" in out
    assert not served(web, "resnet50").asked and not (tmp_path / "data").exists()


def test_an_official_file_of_another_version_says_what_it_is(web, tmp_path, capsys):
    own = tmp_path / "own.pth"
    own.write_bytes(served(web, "resnet50", "V2").content)
    assert run(tmp_path, "--archive", own) == 2
    assert "it is resnet50 V2: give --backbone and --version so" in refused(capsys)


def test_an_official_file_that_does_not_fit_is_not_fine(web, tmp_path, capsys, monkeypatch):
    state = state_of("resnet50")
    del state["layer3.0.conv1.weight"]
    state["layer2.0.conv1.weight"] = torch.zeros(1)
    publish(monkeypatch, web, "resnet50", "V1", state)
    assert run(tmp_path, "--backbone", "resnet50") == 1
    out = capsys.readouterr().out
    assert "missing, left as initialised: block3.0.conv1\n" in out
    assert "another shape, left as initialised: block2.0.conv1" in out
    assert "WRONG" in out and "--weights" not in out


def test_a_file_without_counters_is_whole(web, tmp_path, capsys, monkeypatch):
    state = {n: t for n, t in state_of("resnet50").items() if "num_batches_tracked" not in n}
    publish(monkeypatch, web, "resnet50", "V1", state)
    assert run(tmp_path, "--backbone", "resnet50") == 0
    out = capsys.readouterr().out
    assert "not in the file and not needed: 53 num_batches_tracked" in out
    assert "missing" not in out


def test_the_real_partial_file_only_if_asked_for(tmp_path, capsys):
    if not PARTIAL.is_file():
        pytest.skip("no real ImageNet weights beside this checkout")
    digits = hashlib.sha256(PARTIAL.read_bytes()).hexdigest()
    assert run(tmp_path, "--archive", PARTIAL, "--backbone", "resnet50") == 2
    line = refused(capsys)
    assert digits in line and "give --unofficial" in line
    asked = ["--archive", PARTIAL, "--unofficial"]
    assert run(tmp_path, *asked) == 2
    assert "--backbone must say of which network" in refused(capsys)
    assert run(tmp_path, *asked, "--backbone", "resnet50") == 0
    out = capsys.readouterr().out
    assert f"sha256 {digits}: NOT torchvision's" in out
    # Stem to block3, and of block4 the first convolution with its BN.
    own = state_of("resnet50")
    early = [n for n in own if not n.startswith(("layer4", "fc"))]
    there = len(early) + len([n for n in own if n.startswith(("layer4.0.conv1.", "layer4.0.bn1."))])
    assert f"{there} loaded" in out and "missing, left as initialised: block4.0.conv2" in out
    assert f"--weights resnet50={PARTIAL}" in out
    assert imagenet_weights.account(PARTIAL, "resnet50").unused == []


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a checkpoint", "cannot be loaded as weights"),
        (saved(state_of("resnet50"))[:2000], "cannot be loaded as weights"),
        (saved({"conv1.weight": Evil()}), "cannot be loaded as weights"),
        (saved({"epoch": 3}), "no state dict"),
        (saved({"fc.weight": torch.zeros(2)}), "none of its tensors"),
    ],
)
def test_an_unofficial_file_that_is_no_such_weights(tmp_path, capsys, content, said):
    own = tmp_path / "own.pth"
    own.write_bytes(content)
    assert run(tmp_path, "--archive", own, "--unofficial", "--backbone", "resnet50") == 2
    found = capsys.readouterr()
    (line,) = found.err.splitlines()
    assert str(own) in line and said in line
    assert "run\n" not in found.out and "--weights" not in found.out


def test_options_that_cannot_be(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, "--unofficial", "--backbone", "resnet50")
    assert caught.value.code == 2 and "--archive" in capsys.readouterr().err
    assert run(tmp_path, "--archive", tmp_path / "none.pth") == 2
    assert refused(capsys) == f"{tmp_path / 'none.pth'}: no such file (--archive)"
