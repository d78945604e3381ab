"""Turn loose parts that lie in any direction on plain ground upright, into a new data folder to train on."""
import argparse
import os
import shlex

from ..console import ended, watched
from ..errors import InputError, printable
from . import flags

NAMED = 10  # pictures that were left out that are named
AFTER = """OUT is a data folder in the MVTec layout: each picture cut out, turned and scaled alike, masks and ROIs with it,
roi.png where most good parts lie (unless DIR has ROIs), and align.json, by which `grdnet predict` turns new pictures."""


def parser():
    parser = argparse.ArgumentParser(prog="grdnet align", description=__doc__, epilog=AFTER)
    parser.add_argument("data", metavar="DIR", help="data folder in the MVTec layout, or a folder of good pictures")
    parser.add_argument("--out", metavar="OUT", required=True, help="folder to make")
    parser.add_argument("--like", metavar="FILE", help="align.json of an earlier command: new pictures of the same parts")
    parser.add_argument("--side", metavar="N", type=int, default=320, help="pixels of the largest part's length, with a "
                        "margin (default: %(default)s)")
    flags.quiet(parser)
    return parser


def main(argv=None) -> int:
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    flags.at_least(arguments, side=32)
    from ..data import aligning, turning
    from ..data.files import read_picture
    from ..data.records import inspect, list_mvtec

    if arguments.side > aligning.LARGEST:
        raise InputError(f"--side {arguments.side}: expected {aligning.LARGEST} or less")
    if os.path.lexists(arguments.out):
        raise InputError(f"{arguments.out}: exists already; choose another --out")
    splits = {"train": inspect(list_mvtec(arguments.data, "train")).records}
    if os.path.isdir(os.path.join(arguments.data, "test")):
        splits["test"] = inspect(list_mvtec(arguments.data, "test")).records
    alignment = aligning.read(arguments.like) if arguments.like else aligning.learn(
        splits["train"], lambda record: read_picture(record.image), arguments.side,
        progress=lambda records: watched(records, "parts looked for", len(records)))
    turned = turning.turn(splits, alignment, arguments.out, arguments.data,
                          lambda records, what: watched(records, what, len(records)))
    if not arguments.quiet:
        tell(arguments, alignment, turned)
    return 0


def tell(arguments, alignment, turned):
    height, width = alignment.size
    print(f"{arguments.out}: {len(turned.files)} pictures of {width} x {height}, {alignment.scale:.3g} of their files' scale")
    for file, why in turned.lost[:NAMED]:
        print(f"left out, {why}: {printable(file)}")
    if len(turned.lost) > NAMED:
        print(f"... and {len(turned.lost) - NAMED} more")
    crop = list(alignment.window((128, 128)))
    begin, size = f"grdnet train --data {shlex.quote(arguments.out)} --config", f"--set data.image_size=[{height},{width}]"
    print(f"then: {begin} patchcore {size} --run RUN  # seconds, with the extra [features]")
    print(f"or: {begin} cpu {size} --set data.crop={str(crop).replace(' ', '')} --run RUN  # from scratch")
