"""The command that prints what the intervals are worth."""

from benchmarks.coverage import DEVIATIONS, main
from replication.statistics import smallest_difference


def test_the_printed_figures(capsys):
    assert main(["--draws", "20000"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    shares = {int(row[0]): row[1:] for row in rows if len(row) == 7 and row[0].isdigit()}
    assert list(shares) == [3, 5, 10]
    for interval, _, _, bootstrap, _, error in shares.values():
        # 20,000 draws have a standard error of 0.15 %.
        assert abs(float(interval) - 95) < 0.8
        assert float(bootstrap) + 2 * float(error) < 95
    assert float(shares[3][3]) < 80
    # The micro tier's cells vary by up to 11 points.
    assert min(DEVIATIONS) <= 0.3 and max(DEVIATIONS) >= 10
    powers = {int(row[0]): row[1:] for row in rows if len(row) == 6 and row[0].isdigit()}
    assert list(powers) == list(range(2, 11))
    assert powers[3] == [f"{smallest_difference(s, 3):.2f}" for s in (0.3, 0.6, 1.2, 3, 10)]
