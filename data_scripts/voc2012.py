"""PASCAL VOC 2012 for segmentation: get it, unpack what is needed, verify.

    python data_scripts/voc2012.py --root DATA
    python data_scripts/voc2012.py --root DATA --archive VOCtrainval_11-May-2012.tar \\
        --archive VOC2012test.tar

Makes DATA/VOCdevkit/VOC2012 (about 2 GB). Run again, it verifies and does nothing.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from replication.data.prepare import command, voc2012


def main(arguments: list[str] | None = None, official: voc2012.Official = voc2012.OFFICIAL) -> int:
    """Run the command; return the exit status (see `command.run`)."""
    options = command.parser("voc2012", "Prepare PASCAL VOC 2012 for segmentation.").parse_args(
        arguments
    )
    return command.run(
        lambda console: voc2012.prepare(
            options.root,
            archives=options.archive,
            ids_file=options.ids,
            official=official,
            console=console,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
