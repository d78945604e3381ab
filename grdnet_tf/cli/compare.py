"""Runs of one product side by side, as they were evaluated last: a table, a page, whose verdicts differ."""
import argparse
import os
import sys

from .. import config as configuration
from ..console import aligned, ended
from ..report import comparison
from ..training import run_folder
from . import flags


def parser():
    parser = argparse.ArgumentParser(prog="grdnet compare", description=__doc__)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run that was evaluated; differences are to the first")
    parser.add_argument("--out", metavar="OUT", help="folder for the page (default: comparison)")
    flags.quiet(parser, "warnings and errors alone")
    return parser


def main(argv=None) -> int:
    return ended(lambda arguments: show(arguments.runs, arguments.out, arguments.quiet), parser().parse_args, argv)


def show(runs, out=None, quiet=False) -> int:
    """The runs' reports in one table and one page."""
    entries = [comparison.read(folder, configuration.settings_in_use(run_folder.read_config(folder))) for folder in runs]
    out = out or "comparison"
    comparison.write(out, entries)
    if not quiet:
        print(aligned(comparison.lines(entries)))
        for line in comparison.verdicts(entries):
            print(line)
        print(f"page: {os.path.join(out, comparison.HTML)}")
    for line in comparison.warnings(entries):
        print(f"warning: {line}", file=sys.stderr)
    return 0
