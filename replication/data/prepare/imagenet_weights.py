"""ImageNet weights of torchvision's ResNets: downloaded or given, checked, and accounted for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from replication.data.prepare.command import alone
from replication.data.prepare.download import Archive, checksum, get
from replication.errors import DataError
from replication.network.resnet import ResNet
from replication.network.weights import COUNTER, Account, load_backbone
from replication.protocol import Network
from replication.spec.protocol import NETWORK_TYPES, load_protocol

Backbone = Literal["resnet50", "resnet101"]
BACKBONES: tuple[Backbone, ...] = ("resnet50", "resnet101")
VERSIONS = ("V1", "V2")


def _official(name: str) -> Archive:
    """torch hub's names end in the first eight digits of the file's SHA-256."""
    return Archive(
        url=f"https://download.pytorch.org/models/{name}",
        name=name,
        sha256=name.removesuffix(".pth").rpartition("-")[2],
    )


# Source: torchvision.models.ResNet50_Weights and ResNet101_Weights (a test compares them). V1 are
# the weights of the usual recipe, close to those of He et al.; V2 come from a longer recipe with
# newer augmentation, which the paper did not have.
OFFICIAL = {
    ("resnet50", "V1"): _official("resnet50-0676ba61.pth"),
    ("resnet50", "V2"): _official("resnet50-11ad3fa6.pth"),
    ("resnet101", "V1"): _official("resnet101-63fe2227.pth"),
    ("resnet101", "V2"): _official("resnet101-cd907fc2.pth"),
}
_PROTOCOL = Path(__file__).resolve().parents[3] / "tables" / "protocol.toml"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to get: weights of these backbones in this version, from these files where given."""

    backbones: tuple[Backbone, ...]
    version: str
    given: tuple[Path, ...]
    unofficial: bool


def prepare(root: Path, request: Request, console: Console) -> bool:
    """Get and check the files, print what of each goes where in our network.

    Returns whether everything that an official file must hold is there. Raises DataError or
    RunError for a file that cannot be had, is not the official one (unless that is asked for), or
    is no state dict.
    """
    given = _sort(request, console)
    fine, options = True, []
    for backbone in request.backbones:
        archive = OFFICIAL[backbone, request.version]
        path = given.get(backbone)
        if path is None:
            with alone(root, "weights"):
                path = get(archive, root / "weights", console=console)
        official = not (request.unofficial and backbone in given)
        console.print(f"{backbone}: {path}")
        kind = f"torchvision's {request.version}" if official else "NOT torchvision's"
        console.print(f"  sha256 {checksum(path, 'sha256', console)}: {kind}")
        fine &= _show(account(path, backbone), official, console)
        options.append(f"--weights {backbone}={path}")
    if fine:
        console.print(f"use with: python -m replication.run … {' '.join(options)}")
    return fine


def _sort(request: Request, console: Console) -> dict[Backbone, Path]:
    """Which backbone each given file is for: by its checksum, or as the user says."""
    sums = {
        archive.sha256 or "": (backbone, version)
        for (backbone, version), archive in OFFICIAL.items()
    }
    found: dict[Backbone, Path] = {}
    for path in request.given:
        if not path.is_file():
            raise DataError(f"{path}: no such file (--archive)")
        if request.unofficial:
            if len(request.given) > 1 or len(request.backbones) > 1:
                raise DataError(
                    f"{path}: --unofficial takes one file, and --backbone must say of which network"
                )
            return {request.backbones[0]: path}
        digits = checksum(path, "sha256", console)
        known = next((what for start, what in sums.items() if digits.startswith(start)), None)
        wanted = [(backbone, request.version) for backbone in request.backbones]
        if known not in wanted:
            asked = " or ".join(f"{OFFICIAL[what].name} ({what[0]} {what[1]})" for what in wanted)
            is_ = (
                f"it is {known[0]} {known[1]}: give --backbone and --version so"
                if known
                else f"its sha256 is {digits}: give --unofficial to use it all the same"
            )
            raise DataError(f"{path}: not torchvision's {asked}; {is_}")
        found[known[0]] = path
    return found


def account(path: Path, backbone: Backbone) -> Account:
    """What of a torchvision state dict goes where in our full-size backbone, stem to block4.

    Raises RunError for a file that is no state dict, or of which nothing fits.
    """
    problems: list[str] = []
    protocol = load_protocol(_PROTOCOL, problems)
    if protocol is None:
        raise DataError("\n".join(problems))
    chosen = {name: protocol.training[name] for name in NETWORK_TYPES}
    network = Network(**{**chosen, "backbone": backbone, **protocol.backbones[backbone]})
    # Names and shapes are all that an account takes: no memory, no initialisation.
    with torch.device("meta"):
        module = ResNet(network, 16)
    return load_backbone(module, path)


def _show(account: Account, official: bool, console: Console) -> bool:
    """Print an account; returns whether it is what an official file gives."""
    for line in account.lines():
        console.print(f"  {line}")
    if not official:
        return True
    whole = all(name.endswith(COUNTER) for name in account.missing) and not account.mismatched
    whole &= account.unused == ["fc.weight", "fc.bias"]
    if not whole:
        console.print("  WRONG: an official file gives all of the backbone, and leaves only fc")
    return whole
