"""Turn loose parts that lie in any direction on plain ground upright, into a new data folder to train on."""
import argparse
import collections
import os
import shlex

import cv2
import numpy as np

from ..console import ended, watched
from ..errors import InputError, printable
from ..storage import aside, sync_tree, writing
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
    from ..data import aligning
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
        lambda records: watched(records, "parts looked for", len(records)))
    os.makedirs(os.path.dirname(os.path.abspath(arguments.out)), exist_ok=True)
    lost = []
    with writing(arguments.out), aside(os.path.dirname(os.path.abspath(arguments.out))) as fresh:
        for split, records in splits.items():
            names = file_names(records)
            for record in watched(records, f"{split}: pictures turned", len(records)):
                if not put(fresh, split, record, names[record.image], alignment):
                    lost.append(record)
        if not os.path.isdir(os.path.join(fresh, "train", "good")):
            raise InputError(f"{arguments.data}: no part is found in any of the good pictures, the first is "
                             f"{splits['train'][0].image}")
        region = None
        if not any(record.roi for records in splits.values() for record in records):
            folder = os.path.join(fresh, "train", "good")
            region = aligning.covered(read_picture(os.path.join(folder, name)) for name in sorted(os.listdir(folder)))
        if region is not None:
            save(os.path.join(fresh, "roi.png"), region * 255)
        aligning.write(os.path.join(fresh, aligning.FILE), alignment)
        sync_tree(fresh)
        os.rename(fresh, arguments.out)
    if not arguments.quiet:
        tell(arguments, alignment, splits, lost)
    return 0


def tell(arguments, alignment, splits, lost):
    height, width = alignment.size
    print(f"{arguments.out}: {sum(map(len, splits.values())) - len(lost)} pictures of {width} x {height}, "
          f"{alignment.scale:.3g} of their files' scale")
    for record in lost[:NAMED]:
        print(f"left out, no part found: {printable(record.image)}")
    if len(lost) > NAMED:
        print(f"... and {len(lost) - NAMED} more")
    crop = min(width, 32 * max(1, round(128 * 128 / height / 32)))
    begin, size = f"grdnet train --data {shlex.quote(arguments.out)} --config", f"--set data.image_size=[{height},{width}]"
    print(f"then: {begin} patchcore {size} --run RUN  # seconds, with the extra [features]")
    print(f"or: {begin} cpu {size} --set data.crop=[{height},{crop}] --run RUN  # from scratch")


def put(root, split, record, name, alignment) -> bool:
    """Write the record's files upright; False, and none of them, where no whole part is found in a picture."""
    from ..data.files import read_picture, read_region
    from ..data.roi import read_roi

    picture = read_picture(record.image)
    matrix = alignment.matrix(picture)
    if matrix is None:
        return False
    save(os.path.join(root, split, record.defect, name), alignment.upright(picture, matrix))
    if record.mask:
        path = os.path.join(root, "ground_truth", record.defect, f"{os.path.splitext(name)[0]}_mask.png")
        save(path, alignment.region(read_region(record.mask), matrix) * 255)
    if record.roi:
        region = np.asarray(read_roi(record.roi, picture.shape[:2]))
        save(os.path.join(root, "roi", split, record.defect, name), alignment.region(region, matrix) * 255)
    return True


def file_names(records):
    """{picture: a name within its folder that no other has}, .png; of those below one another with their folders' names."""
    found, taken = {}, collections.defaultdict(set)
    for record in records:
        parts, stem = os.path.split(os.path.splitext(record.image)[0])
        while stem.casefold() in taken[record.defect]:
            parts, above = os.path.split(parts)
            stem = f"{above}-{stem}"
        taken[record.defect].add(stem.casefold())
        found[record.image] = f"{stem}.png"
    return found


def save(path, pixels):
    """(H, W[, 1 or 3]) of 8 or 16 bit as PNG."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = pixels[..., ::-1] if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels
    with open(path, "xb") as stream:
        stream.write(cv2.imencode(".png", pixels)[1].tobytes())
