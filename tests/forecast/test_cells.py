"""The counts of every cell, as a table."""

from replication.forecast.cells import main


def test_the_papers_cells(capsys):
    assert main(["--tier", "paper"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert len(cells) == 74
    # 16 crops of 137.6 GFLOP, three times but for the first convolution's; 58.0 M parameters.
    best = cells["table5/mg124-pooling"]
    assert best[:2] == ["58.0", "6.59"] and best[5] == "198"
    # What a server scores has no evaluation of ours.
    assert len(cells["table7/deeplabv3"]) == 6 and len(best) == 8


def test_one_cell_by_its_blocks(capsys):
    assert main(["--tier", "smoke", "--cell", "table1/os8", "--blocks"]) == 0
    out = capsys.readouterr().out
    assert "block7" in out and "aspp" not in out and "classifier" in out


def test_a_mistake_is_a_line(capsys):
    assert main(["--tier", "smoke", "--cell", "table1/os7"]) == 2
    assert "table1/os7: no such cell" in capsys.readouterr().err
