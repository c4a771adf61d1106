from .files import is_table, open_table
from .reader import Block, Column, TableReader
from .simulated import simulate_table
from .translate import translate_table
from .translate_file import translate_table_file
from .writer import TableWriter, write_table

__all__ = [
    "Block",
    "Column",
    "TableReader",
    "TableWriter",
    "is_table",
    "open_table",
    "simulate_table",
    "translate_table",
    "translate_table_file",
    "write_table",
]
