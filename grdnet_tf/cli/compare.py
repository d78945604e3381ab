"""Runs of one product side by side, as they were evaluated last: a table, a page, whose verdicts differ."""
import argparse
import os
import sys

from .. import config as configuration
from ..console import aligned, ended
from ..report import comparison
from ..training import run_folder


def parse(argv):
    parser = argparse.ArgumentParser(prog="grdnet compare", description=__doc__)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run that was evaluated; differences are to the first")
    parser.add_argument("--out", metavar="OUT", help="folder for the page (default: comparison)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    return ended(lambda: show(arguments.runs, arguments.out))


def show(runs, out=None) -> int:
    """The runs' reports in one table and one page."""
    entries = [comparison.read(folder, configuration.flat(run_folder.read_config(folder))) for folder in runs]
    out = out or "comparison"
    comparison.write(out, entries)
    print(aligned(comparison.lines(entries)))
    for line in comparison.verdicts(entries):
        print(line)
    for line in comparison.warnings(entries):
        print(f"warning: {line}", file=sys.stderr)
    print(f"page: {os.path.join(out, comparison.HTML)}")
    return 0
