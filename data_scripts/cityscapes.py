"""Prepare Cityscapes from its official zip files, or from a folder where they are unpacked.

    python data_scripts/cityscapes.py --root DATA --archive leftImg8bit_trainvaltest.zip \\
        --archive gtFine_trainvaltest.zip

Nothing is downloaded: Cityscapes needs a login. Makes DATA/cityscapes, with train ids beside the
label ids. Run again, it verifies.
"""

import sys
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from replication.data.prepare import cityscapes, command


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = command.parser("cityscapes", "Unpack, convert and verify Cityscapes.")
    options = parser.parse_args(arguments)

    def body(console: Console) -> bool:
        return cityscapes.prepare(options.root, options.archive, options.ids, console)

    return command.run(body)


if __name__ == "__main__":
    sys.exit(main())
