"""The command end to end, at a scale of seconds: results, sharing, resuming, failing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from replication.run import main

HERE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One data cache for this file's runs."""
    before = os.environ.get("REPLICATION_DATA")
    os.environ["REPLICATION_DATA"] = str(tmp_path_factory.mktemp("data"))
    yield
    del os.environ["REPLICATION_DATA"]
    if before is not None:
        os.environ["REPLICATION_DATA"] = before


def tier_file(tmp_path, text, name="tiny"):
    """A tier that extends smoke, in a folder with the others."""
    folder = tmp_path / "tiers"
    if not folder.exists():
        folder.mkdir()
        for path in (HERE / "tiers").glob("*.toml"):
            (folder / path.name).write_text(path.read_text())
    (folder / f"{name}.toml").write_text(f'extends = "smoke"\nsummary = "a test"\n{text}')
    return ["--tiers", str(folder), "--tier", name]


def records(results, kind, tier="smoke"):
    return sorted((results / tier / "steps").glob(f"{kind}-*"))


def table(results, number, tier="smoke"):
    return json.loads((results / tier / "tables" / f"table{number:02d}.json").read_text())


@pytest.fixture(scope="module")
def table4(tmp_path_factory):
    """Table 4 at the smoke tier, run once for several tests."""
    results = tmp_path_factory.mktemp("results")
    assert main(["--table", "4", "--tier", "smoke", "--results", str(results)]) == 0
    return results


def test_a_table_runs_to_rendered_results(table4):
    files = {path.name for path in (table4 / "smoke" / "tables").iterdir()}
    assert {"table04.md", "table04.csv", "table04.json", "table04.tex", "index.md"} <= files
    content = table(table4, 4)
    assert content["tier"] == "smoke" and content["comparable"] is False
    assert "not comparable" in content["notice"]
    assert [cell["published"] for cell in content["cells"]] == [76.66, 78.05, 78.93, 79.35]
    for cell in content["cells"]:
        assert cell["measured"]["n"] == 1 and 0 <= cell["measured"]["mean"] <= 100
        assert cell["verdict"] == "not comparable"
        for chain in cell["training"]:
            for id_ in chain:
                assert (table4 / "smoke" / "steps" / id_ / "outcome.json").is_file()
    assert all(claim["verdict"] == "undecided" for claim in content["claims"])


def test_four_strategies_are_one_training_and_one_sweep(table4):
    assert len(records(table4, "train")) == 1 and len(records(table4, "evaluate")) == 4
    outcomes = [
        json.loads((path / "outcome.json").read_text()) for path in records(table4, "evaluate")
    ]
    assert len({outcome["seconds"] for outcome in outcomes}) == 1


def test_the_record_says_what_it_was_made_with(table4):
    [folder] = records(table4, "train")
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["device"] == "cpu" and environment["threads"] == 1
    assert {"torch", "commit", "clean"} <= environment.keys()
    account = json.loads((folder / "weights-account.json").read_text())
    assert not account["backbone"]["mismatched"]
    assert account["block5-7 from block4"]["mismatched"] == [
        f"block{block}.0.conv1.weight" for block in (5, 6, 7)
    ]


def test_run_again_it_does_nothing(table4, capsys):
    before = {path: path.stat().st_mtime_ns for path in table4.rglob("outcome.json")}
    assert main(["--table", "4", "--tier", "smoke", "--results", str(table4)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in table4.rglob("outcome.json")}
    assert "(0 in this run)" in capsys.readouterr().out


def test_what_is_done_is_judged_without_torch(table4):
    arguments = ["--table", "4", "--tier", "smoke", "--results", str(table4)]
    code = "import sys; from replication.run import main; assert main(sys.argv[1:]) == 0; "
    code += "sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_dry_run_shows_the_sharing(table4, capsys):
    arguments = ["--table", "3", "--table", "4", "--tier", "smoke", "--results", str(table4)]
    assert main([*arguments, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    # Table 4's training is Table 3's best cell, and its first row that cell's evaluation.
    assert len(plan["cells"]) == 24
    assert plan["trainings"] == {
        "unique": 21, "done": 2, "failed": 0, "partial": 0, "missing": 19,
    }  # fmt: skip
    assert plan["evaluations"]["unique"] == 23 and plan["evaluations"]["done"] == 4
    by_cell = {(cell["table"], cell["cell"]): cell for cell in plan["cells"]}
    assert by_cell[3, "mg121-block7"]["evaluation"] == by_cell[4, "os16"]["evaluation"]
    assert by_cell[3, "mg121-block7"]["status"] == "done"
    assert by_cell[3, "mg111-block4"]["status"] == "missing"


def test_one_cell_and_what_other_tables_know_of_it(table4):
    arguments = ["--cell", "table3/mg121-block7", "--tier", "smoke", "--results", str(table4)]
    assert main(arguments) == 0
    cells = {cell["cell"]: cell for cell in table(table4, 3)["cells"]}
    assert cells["mg121-block7"]["measured"]["n"] == 1
    assert cells["mg111-block4"]["verdict"] == "not run"
    assert len(records(table4, "train")) == 1


def test_two_seeds_share_nothing(table4):
    arguments = ["--table", "4", "--tier", "smoke", "--results", str(table4), "--seeds", "2"]
    assert main(arguments) == 0
    assert len(records(table4, "pretrain")) == 2 and len(records(table4, "train")) == 2
    cell = table(table4, 4)["cells"][0]
    assert cell["measured"]["seeds"] == [0, 1] and cell["measured"]["sd"] is not None


def test_the_whole_chain_to_the_test_set_runs(tmp_path):
    results = tmp_path / "results"
    assert main(["--table", "7", "--tier", "smoke", "--results", str(results)]) == 0
    stages = {}
    for folder in records(results, "train"):
        config = json.loads((folder / "config.json").read_text())
        stages[config["config"]["stage"]["split"]] = config
    assert set(stages) == {"train", "trainaug", "trainval"}
    last = stages["trainval"]["config"]["stage"]
    assert last["batch_norm"] == "frozen" and last["output_stride"] == 8
    assert stages["trainval"]["parent"].startswith("train-")
    from safetensors.numpy import load_file

    one, two = (
        load_file(next((results / "smoke/steps").glob(f"{name}/weights.safetensors")))
        for name in (stages["trainval"]["parent"], f"{_id(results, 'trainval')}")
    )
    frozen = [name for name in one if "running" in name]
    assert frozen and all((one[name] == two[name]).all() for name in frozen)
    assert any((one[name] != two[name]).any() for name in one)


def _id(results, split):
    for folder in records(results, "train"):
        if f'"split": "{split}"' in (folder / "config.json").read_text():
            return folder.name
    raise AssertionError(split)


def test_a_diverging_cell_fails_and_the_rest_go_on(tmp_path, capsys):
    where = tier_file(tmp_path, "[scale]\nlearning_rate = 1e35\niterations = 3e-4\n")
    results = tmp_path / "results"
    arguments = [*where, "--results", str(results), "--cell", "table9/batch4"]
    status = main([*arguments, "--cell", "table9/batch8"])
    out = capsys.readouterr().out
    assert status == 1
    assert "the loss became" in out or "is not finite after" in out
    cells = {cell["cell"]: cell["verdict"] for cell in table(results, 9, "tiny")["cells"]}
    assert cells["batch4"] == "failed" and cells["batch12"] == "not run"
    assert len(records(results, "pretrain", "tiny")) == 1
    # The failure is a result: it is not run again, and is still told.
    assert main(arguments) == 1
    assert "(0 in this run)" in capsys.readouterr().out


def test_fail_fast_starts_nothing_more(tmp_path, capsys):
    where = tier_file(tmp_path, "[scale]\nlearning_rate = 1e35\niterations = 3e-4\n")
    arguments = [*where, "--results", str(tmp_path / "r"), "--table", "9", "--workers", "1"]
    assert main([*arguments, "--fail-fast"]) == 1
    out = capsys.readouterr().out
    # The pretraining is done, one training failed, six steps never started.
    assert "1 of 9 steps done (1 in this run), 1 failed, 7 not run" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "14"], "--table 14: no such table; there are 1, 2, 3"),
        (["--cell", "table3/mg121-blok7"], 'nearest known is "table3/mg121-block7"'),
        (["--table", "1", "--tier", "micr"], '"micro"'),
        (["--table", "1", "--data", "voc"], "--data voc: must be ROLE=PATH"),
        (["--table", "1", "--data", "vok=/x"], "no such role; known: voc, coco"),
        (["--table", "1", "--data", "voc=/no/such/folder"], "/no/such/folder: no such folder"),
        (["--table", "1", "--seeds", "0"], "--seeds 0: must be at least 1"),
        (["--table", "1", "--workers", "0"], "--workers 0: must be at least 1"),
        (["--table", "1", "--json"], "--json: goes with --dry-run or --list"),
        (["--table", "1", "--tables", "/no/such"], "/no/such"),
        ([], "nothing to do: give --table N"),
        (["--table", "1", "--device", "cuda:7"], "--device cuda:7: no such device"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(arguments, said, capsys, tmp_path):
    if "--tier" not in arguments:
        arguments = [*arguments, "--tier", "smoke"]
    assert main([*arguments, "--results", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1 and "Traceback" not in error
    assert not list(tmp_path.rglob("outcome.json"))


def test_a_cell_with_a_finding_never_says_reproduced(tmp_path):
    """At a comparable tier: the same records, before and after one of them is tampered with."""
    where = [*tier_file(tmp_path, "comparable = true\n"), "--results", str(tmp_path / "r")]
    arguments = ["--cell", "table9/batch4", *where]

    def cell():
        assert main(arguments) == 0
        cells = {one["cell"]: one for one in table(tmp_path / "r", 9, "tiny")["cells"]}
        return cells["batch4"]["verdict"], cells["batch4"]["reason"]

    assert cell()[0] in ("below", "reproduced", "above")
    [training] = records(tmp_path / "r", "train", "tiny")
    first, last = map(json.loads, (training / "log.jsonl").read_text().splitlines())
    log = [first, {**last, "learning_rate": 0.5}]
    (training / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    verdict, reason = cell()
    assert (
        verdict == "suspect" and "seed 0: learning rate: learning rate 0.5 at iteration 2" in reason
    )


def command(*arguments):
    return [sys.executable, "-m", "replication.run", *arguments]


def weights(results, tier="tiny"):
    return {
        path.parent.name: path.read_bytes()
        for path in (results / tier / "steps").glob("*/weights.safetensors")
    }


LONGER = "[scale]\niterations = 2e-3\n"


@pytest.mark.skipif(os.name == "nt", reason="process groups")
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path):
    """kill -9 of the whole process group, again and again, then a run to the end."""
    where = [*tier_file(tmp_path, LONGER), "--cell", "table11/replicas4", "--workers", "1"]
    assert main([*where, "--results", str(tmp_path / "whole")]) == 0
    broken = [*where, "--results", str(tmp_path / "broken"), "--checkpoint-seconds", "0.2"]
    moments = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            command(*broken), cwd=HERE, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(moments.uniform(3.0, 7.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert main(broken) == 0
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
    assert len(weights(tmp_path / "whole")) == 2


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_leaves_a_state_to_go_on_from(tmp_path):
    where = [*tier_file(tmp_path, "[scale]\niterations = 0.02\n"), "--cell", "table9/batch4"]
    arguments = [*where, "--results", str(tmp_path / "results")]
    process = subprocess.Popen(
        command(*arguments), cwd=HERE, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    partial = tmp_path / "results" / "tiny" / "steps"
    deadline = time.monotonic() + 60
    while not list(partial.glob("train-*.partial/log.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again" in out and "Traceback" not in err
    assert list(partial.glob("train-*.partial/checkpoint.safetensors"))


@pytest.mark.skipif(os.name == "nt", reason="process groups")
def test_two_processes_on_one_folder_train_each_step_once(tmp_path):
    where = [*tier_file(tmp_path, LONGER), "--table", "9", "--workers", "1"]
    arguments = command(*where, "--results", str(tmp_path / "results"))
    both = [
        subprocess.Popen(arguments, cwd=HERE, text=True, stdout=subprocess.PIPE) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    ran = [int(out.split(" in this run)")[0].rsplit("(", 1)[1]) for out in outputs]
    # Four batch sizes: a pretraining, four trainings and four evaluations, each by one of them.
    assert sum(ran) == 9
    assert len(records(tmp_path / "results", "train", "tiny")) == 4


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, table4):
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(mount)], capture_output=True
    )
    if made.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        (mount / "smoke" / "steps").mkdir(parents=True)
        [pretrained] = [
            folder
            for folder in records(table4, "pretrain")
            if json.loads((folder / "config.json").read_text())["config"]["seed"] == 0
        ]
        subprocess.run(["cp", "-r", pretrained, mount / "smoke" / "steps"], check=True)
        process = subprocess.run(
            command("--table", "4", "--tier", "smoke", "--results", str(mount)),
            cwd=HERE, text=True, capture_output=True,
        )  # fmt: skip
        assert process.returncode in (1, 2)
        text = process.stdout + process.stderr
        assert "No space left on device" in text and "Traceback" not in text
        assert (mount / "smoke" / "steps" / pretrained.name / "outcome.json").is_file()
        assert not list((mount / "smoke" / "steps").glob("train-*[0-9a-f]/outcome.json"))
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_read_only_results_folder_is_one_line(tmp_path, capsys):
    mount = tmp_path / "fixed"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(mount)]).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        assert main(["--table", "4", "--tier", "smoke", "--results", str(mount)]) == 2
        error = capsys.readouterr().err
        assert "cannot write results here (Read-only file system)" in error
        assert len(error.splitlines()) == 1
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_truncated_checkpoint_names_the_file_and_the_rest_stays(tmp_path, capsys):
    where = [*tier_file(tmp_path, LONGER), "--cell", "table9/batch4", "--cell", "table9/batch8"]
    arguments = [*where, "--results", str(tmp_path / "results")]
    assert main(arguments) == 0
    one, _ = records(tmp_path / "results", "train", "tiny")
    evaluation = next(
        path
        for path in records(tmp_path / "results", "evaluate", "tiny")
        if json.loads((path / "config.json").read_text())["parent"] == one.name
    )
    for path in sorted(evaluation.iterdir()):
        path.unlink()
    evaluation.rmdir()
    file = one / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    capsys.readouterr()
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "weights.safetensors: damaged" in out and "Traceback" not in out
    cells = {
        cell["cell"]: cell["verdict"] for cell in table(tmp_path / "results", 9, "tiny")["cells"]
    }
    assert sorted(cells.values()) == ["failed", "not comparable", "not run", "not run"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tabel", "3"], '--tabel: no such option; the nearest known is "--table"'),
        (["--dry-runn=1", "--all"], '--dry-runn: no such option; the nearest known is "--dry-run"'),
        (["table3"], "table3: no option stands before it; --help lists them"),
        (["--table"], "argument --table: expected one argument"),
    ],
)
def test_a_misspelt_option_is_one_line(arguments, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and capsys.readouterr().err == f"error: {told}\n"
