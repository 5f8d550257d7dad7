"""Get torchvision's ImageNet weights of ResNet-50 and ResNet-101, or check a file of one's own.

    python data_scripts/imagenet_weights.py --root DATA [--backbone resnet101] [--version V1]
    python data_scripts/imagenet_weights.py --root DATA --archive resnet101-63fe2227.pth

Downloads to DATA/weights; prints what of each file our network takes.
"""

import sys
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from replication.data.prepare import command, imagenet_weights
from replication.data.prepare.imagenet_weights import BACKBONES, VERSIONS, Request


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = command.parser("imagenet_weights", "Get and check ImageNet weights.")
    parser.add_argument("--backbone", default="both", choices=[*BACKBONES, "both"])
    parser.add_argument("--version", default="V1", choices=VERSIONS, help="default: %(default)s")
    parser.add_argument(
        "--unofficial", action="store_true",
        help="take an --archive that is not torchvision's own file, as weights of --backbone",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.ids is not None:
        parser.error("--ids: weights have no ids")
    if options.unofficial and not options.archive:
        parser.error("--unofficial: give the file with --archive")
    request = Request(
        backbones=BACKBONES if options.backbone == "both" else (options.backbone,),
        version=options.version,
        given=tuple(options.archive),
        unofficial=options.unofficial,
    )

    def body(console: Console) -> bool:
        return imagenet_weights.prepare(options.root, request, console)

    return command.run(body)


if __name__ == "__main__":
    sys.exit(main())
