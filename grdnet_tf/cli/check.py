"""Look a data folder over before training: what is there, what is wrong, what will not survive the resize."""
import argparse

from ..console import aligned, ended
from ..errors import InputError
from . import flags


def parser():
    parser = argparse.ArgumentParser(prog="grdnet check", description=__doc__)
    parser.add_argument("data", metavar="DIR", help="data folder in the MVTec layout, or shards")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), default=(256, 256),
                        help="data.image_size of the training to come (default: 256 256)")
    flags.quiet(parser)
    return parser


def main(argv=None) -> int:
    """Exit status 1 if anything is wrong with the data, 2 if there is no such folder."""
    return ended(lambda arguments: show(arguments.data, tuple(arguments.size), arguments.quiet), parser().parse_args, argv)


def show(root, image_size=(256, 256), quiet=False) -> int:
    """Print what `data.check` finds; `quiet`: what is wrong alone."""
    if min(image_size) < 1:
        raise InputError(f"--size {image_size[0]} {image_size[1]}: expected 1 or more")
    from ..data.check import check

    found = check(root, image_size)
    if len(found.facts) > 1 and not quiet:
        print(aligned(found.facts))
    for kind, lines in (("error", found.errors), ("warning", found.warnings)):
        for line in lines:
            print(f"{kind}: {line}")
    if not quiet:
        print(f"{len(found.errors)} errors, {len(found.warnings)} warnings")
    return 1 if found.errors else 0
