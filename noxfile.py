"""The menu: `nox -l` lists it. Arguments after `--` go through: `nox -s table3 -- --seeds 3`.

All sessions share one environment, `.nox/replication`, made by uv from the pinned versions in
constraints.txt and renewed when they or pyproject.toml change.
"""

import hashlib
import os
import sys
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "none"

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".nox" / "replication"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PINS = [HERE / "pyproject.toml", HERE / "constraints.txt"]


def environment(session: nox.Session) -> str:
    """Make the shared environment, or reuse it; returns its Python."""
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in PINS)).hexdigest()
    stamp = ENVIRONMENT / "made-from"
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = _uv()
        project = tomllib.loads(PINS[0].read_text())
        packages = list(project["project"]["dependencies"])
        for extra in (project["project"]["optional-dependencies"], project["dependency-groups"]):
            for group in extra.values():
                packages += group
        session.run(
            uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT),
            external=True,
        )  # fmt: skip
        session.run(
            uv, "pip", "install", "--quiet", "--python", str(PYTHON),
            "--constraints", str(PINS[1]), *packages, external=True,
        )  # fmt: skip
        stamp.write_text(wanted)
    return str(PYTHON)


def _uv() -> str:
    try:
        from uv import find_uv_bin
    except ImportError:
        return "uv"
    return find_uv_bin()


def replicate(session: nox.Session, *arguments: str) -> None:
    python = environment(session)
    session.run(
        python, "-m", "replication.run", *arguments, *session.posargs, external=True,
        # On Ctrl-C a training writes its checkpoint before it ends.
        interrupt_timeout=60, terminate_timeout=60,
    )  # fmt: skip


def _table(number: int, what: str) -> None:
    @nox.session(name=f"table{number}", default=False)
    def table(session: nox.Session) -> None:
        replicate(session, "--table", str(number))

    table.__doc__ = what


for _number, _what in {
    1: "Table 1: output stride 8 to 256, ResNet-50 with block7.",
    2: "Table 2: depth of the cascade, ResNet-50 and ResNet-101.",
    3: "Table 3: multi-grid and depth, ResNet-101: the main job, 20 cells.",
    4: "Table 4: inference strategies of the best cascade.",
    5: "Table 5: ASPP, multi-grid, image pooling.",
    6: "Table 6: inference strategies of the best ASPP model, COCO.",
    7: "Table 7: VOC test set.",
    8: "Table 8: crop size, upsampled logits, batch normalisation.",
    9: "Table 9: batch size.",
    10: "Table 10: output stride in training and in evaluation.",
    11: "Table 11: asynchronous training.",
    12: "Table 12: Cityscapes val.",
    13: "Table 13: Cityscapes test.",
}.items():
    _table(_number, _what)


@nox.session(default=False)
def ledger(session: nox.Session) -> None:
    """What other readings of the paper would have changed: tables/ledger.toml, 18 cells."""
    replicate(session, "--table", "ledger")


@nox.session(name="all", default=False)
def everything(session: nox.Session) -> None:
    """All thirteen tables and Figure 4."""
    replicate(session, "--all")


@nox.session(default=False)
def fig4(session: nox.Session) -> None:
    """Figure 4: valid filter weights against the atrous rate."""
    arguments = session.posargs or ["--out", "results/figures"]
    session.run(environment(session), "-m", "figures.fig4", *arguments, external=True)


@nox.session(default=False)
def check(session: nox.Session) -> None:
    """What is on record against references/, for CI (docs/ci.md)."""
    session.run(environment(session), "-m", "replication.check", *session.posargs, external=True)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """What it costs beside what one would use instead; about an hour on two idle cores."""
    session.run(environment(session), "-m", "benchmarks.speed", *session.posargs, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests."""
    session.run(environment(session), "-m", "pytest", *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: lint and format."""
    python = environment(session)
    session.run(python, "-m", "ruff", "check", *session.posargs, external=True)
    session.run(python, "-m", "ruff", "format", "--check", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    session.run(environment(session), "-m", "mypy", *session.posargs, external=True)
