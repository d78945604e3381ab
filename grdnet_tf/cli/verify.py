"""Is what was exported still what the export wrote? Every digest of a folder of versions, or of a bundle."""
import argparse
import os

from ..console import ended
from ..errors import InputError
from . import flags


def parser():
    parser = argparse.ArgumentParser(prog="grdnet verify", description=__doc__)
    parser.add_argument("path", metavar="FILE|DIR", help="a bundle of `grdnet export --bundle`; a version's folder, a "
                        "model's, or all that a server shares")
    flags.quiet(parser, "errors alone")
    return parser


def main(argv=None) -> int:
    """Exit status 1 if anything is not what was written, 2 if there is nothing to look at."""
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    from ..serving import bundle

    path = arguments.path
    if not os.path.exists(path):
        raise InputError(f"{path}: not there")
    found = bundle.published(path) if os.path.isdir(path) else [(path, len(bundle.verify(path)))]
    for name, count in found if not arguments.quiet else ():
        print(f"as written: {name} ({count} files)")
    return 0
