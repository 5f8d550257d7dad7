"""Replication harness for DeepLabv3 (arXiv:1706.05587): from a table's spec to a verdict."""
