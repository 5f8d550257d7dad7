"""The specs of tables: files in, cells with their whole protocol out. No torch."""

from replication.spec.cells import Axis, Grid, id_part, text
from replication.spec.claims import Claim
from replication.spec.names import TableKey
from replication.spec.protocol import NamedStage
from replication.spec.tables import Cell, Column, Table, load_tables

__all__ = [
    "Axis",
    "Cell",
    "Claim",
    "Column",
    "Grid",
    "NamedStage",
    "Table",
    "TableKey",
    "id_part",
    "load_tables",
    "text",
]
