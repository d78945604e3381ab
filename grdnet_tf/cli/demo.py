"""Draw the demo set into a folder: a strip of vials with a region of interest, in the MVTec layout."""
import argparse

from ..console import ended
from ..errors import InputError


def parse(argv):
    parser = argparse.ArgumentParser(prog="grdnet demo", description=__doc__)
    parser.add_argument("folder", metavar="DIR", nargs="?", default="demo_data", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    return ended(lambda: draw(arguments))


def draw(arguments) -> int:
    if arguments.seed < 0:
        raise InputError(f"--seed {arguments.seed}: expected 0 or more")
    from ..demo.dataset import write_demo

    print("demo set:", write_demo(arguments.folder, arguments.seed, size=(arguments.size, arguments.size)))
    return 0
