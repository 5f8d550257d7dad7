"""SBD's extra annotations beside VOC 2012, and the list trainaug.

    python data_scripts/voc2012.py --root DATA
    python data_scripts/sbd.py --root DATA [--archive benchmark.tgz] [--compare trainaug.txt]

Adds SegmentationClassAug and trainaug.txt (10,582 ids) to DATA/VOCdevkit/VOC2012. Run again, it
verifies and does nothing.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from replication.data.prepare import command, sbd


def main(arguments: list[str] | None = None, official: sbd.Official = sbd.OFFICIAL) -> int:
    """Run the command; return the exit status (see `command.run`)."""
    parser = command.parser("sbd", "Add SBD's annotations to a prepared PASCAL VOC 2012.")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="a trainaug list that ours must equal"
    )
    options = parser.parse_args(arguments)
    return command.run(
        lambda console: sbd.prepare(
            options.root,
            archives=options.archive,
            ids_file=options.ids,
            compare=options.compare,
            official=official,
            console=console,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
