"""MS-COCO with VOC's classes, for pretraining: get it, paint masks, select images, verify.

    python data_scripts/coco.py --root DATA
    python data_scripts/coco.py --root DATA --archive train2017.zip \\
        --archive annotations_trainval2017.zip
    python data_scripts/coco.py --root DATA --unpacked COCO

Makes DATA/coco. Needs pycocotools, and about 2 GB of memory for the annotations. Run again, it
verifies and does nothing.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console

from replication.data.prepare import coco, coco_source, command


def main(
    arguments: list[str] | None = None,
    releases: Mapping[str, coco_source.Release] = coco_source.RELEASES,
) -> int:
    """Run the command; return the exit status (see `command.run`)."""
    parser = command.parser("coco", "Prepare MS-COCO with VOC's classes, for pretraining.")
    parser.add_argument(
        "--year", default="2017", choices=sorted(releases),
        help="which release to take the images from; they are the same (default: 2017, "
        "one archive less)",
    )  # fmt: skip
    parser.add_argument(
        "--unpacked", type=Path, metavar="COCO",
        help="folder with annotations/ and the images' folders (train2017/ or train2014/ and "
        "val2014/), in the place of archives; images are linked, or copied to another disk",
    )  # fmt: skip
    parser.add_argument(
        "--minival", type=Path, metavar="FILE",
        help="instances_minival2014.json or instances_val2017.json, whose 5,000 images are left "
        "out (default: the one in annotations_trainval2017.zip)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.unpacked and options.archive:
        parser.error("give --unpacked or --archive, not both")
    release = releases[options.year]

    def body(console: Console) -> bool:
        source: coco_source.Source
        if options.unpacked:
            source = coco_source.Unpacked(home=options.unpacked)
        else:
            stored = options.root / "archives"
            source = coco_source.Zips.of(release, options.archive, stored, console)
        return coco.prepare(
            options.root,
            release,
            source,
            minival=options.minival,
            ids_file=options.ids,
            console=console,
        )

    return command.run(body)


if __name__ == "__main__":
    sys.exit(main())
