"""Draw the demo set into a folder: a strip of vials with a region of interest, in the MVTec layout."""
import argparse

from ..console import ended
from . import flags


def parser():
    parser = argparse.ArgumentParser(prog="grdnet demo", description=__doc__)
    parser.add_argument("folder", metavar="DIR", nargs="?", default="demo_data", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels (default: %(default)s)")
    flags.quiet(parser)
    return parser


def main(argv=None) -> int:
    return ended(draw, parser().parse_args, argv)


def draw(arguments) -> int:
    flags.at_least(arguments, seed=0)
    from ..demo.dataset import write_demo

    folder = write_demo(arguments.folder, arguments.seed, size=(arguments.size, arguments.size))
    if not arguments.quiet:
        print("demo set:", folder)
    return 0
