"""How the time grows with what is asked for: `python -m benchmarks.growth`."""
