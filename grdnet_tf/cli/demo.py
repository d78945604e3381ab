"""Draw a demo set into a folder, in the MVTec layout: strips of vials with a region of interest, or loose parts."""
import argparse

from ..console import ended
from . import flags


def parser():
    parser = argparse.ArgumentParser(prog="grdnet demo", description=__doc__)
    parser.add_argument("folder", metavar="DIR", nargs="?", default="demo_data", help="default: %(default)s")
    parser.add_argument("--set", dest="which", choices=("vials", "parts"), default="vials", help="parts: threaded pins "
                        "in any direction on ground with dust, with structural defects; no region (default: vials)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels (default: %(default)s)")
    flags.quiet(parser)
    return parser


def main(argv=None) -> int:
    return ended(draw, parser().parse_args, argv)


def draw(arguments) -> int:
    flags.at_least(arguments, seed=0)
    from ..demo.dataset import write_demo

    folder = write_demo(arguments.folder, arguments.seed, size=(arguments.size, arguments.size),
                        which=arguments.which)
    if not arguments.quiet:
        print("demo set:", folder)
    return 0
