"""The scripts of examples/ that score files, and what they have written."""
import glob
import importlib.util
import os

from other_process import ROOT

HOW = "not installed: pip install -r requirements-engines.txt"


def example(name):
    """A script of examples/, as a module."""
    spec = importlib.util.spec_from_file_location(name, os.path.join(ROOT, "examples", f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_name(rows):
    """{name of the file: the rest of its row}; fails where a file has two rows."""
    found = {os.path.basename(row["path"]): {key: value for key, value in row.items() if key != "path"} for row in rows}
    assert len(found) == len(rows)
    return found


def parquet(pattern):
    """All rows of some files."""
    from pyarrow.parquet import ParquetFile  # not read_table: it takes the folders' names for columns

    paths = glob.glob(pattern)
    assert paths
    return [row for path in paths for row in ParquetFile(path).read().to_pylist()]
