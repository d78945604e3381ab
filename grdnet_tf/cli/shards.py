"""Store a data folder in shards: a few large files instead of many small ones, for 10^5 pictures and more."""
import argparse

from ..console import ended
from ..errors import InputError
from . import flags

KEPT = ("--data SHARDS then stands for --data DIR. What a killed command had done the next one keeps; the bytes of the "
        "shards depend on the pictures and on the flags alone.")


def parser():
    parser = argparse.ArgumentParser(prog="grdnet shards", description=__doc__, epilog=KEPT)
    parser.add_argument("data", metavar="DIR", help="data folder in the MVTec layout")
    parser.add_argument("--out", metavar="SHARDS", required=True, help="folder to write, new; or a path with :// of a "
                        "file system that TensorFlow has")
    parser.add_argument("--size-mb", metavar="N", type=float, default=150,
                        help="megabytes of a shard, about (default: 150)")
    parser.add_argument("--resize", metavar="H,W|none", default="none", help="none: the pictures' files as they are; "
                        "H,W: resized to that, once, and not compressed: larger, and several times as quick to read")
    parser.add_argument("--split", choices=("train", "test", "all"), default="all",
                        help="which pictures (default: all)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out what cannot be used, named in index.json "
                        "(default: the first such file ends the command)")
    parser.add_argument("--threads", metavar="N", type=int, default=0, help="that read and encode (default: one a "
                        "processor)")
    flags.quiet(parser)
    return parser


def main(argv=None) -> int:
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    """Judge flags and folder, then import TensorFlow: a wrong path is answered at once."""
    from ..data.records import has_split, list_mvtec

    flags.at_least(arguments, threads=0)
    if not 0 < arguments.size_mb < float("inf"):
        raise InputError(f"--size-mb {arguments.size_mb:g}: expected more than 0")
    resize = size(arguments.resize)
    splits = [arguments.split]
    if arguments.split == "all":
        splits = [split for split in ("train", "test") if has_split(arguments.data, split)]
        if not splits:
            list_mvtec(arguments.data, "train")  # says what is missing
    from ..data import shard_writing

    wanted = shard_writing.Wanted(resize, max(1, int(arguments.size_mb * 1e6)), arguments.skip_bad)
    index = shard_writing.write(arguments.data, arguments.out, splits, wanted, arguments.threads)
    if not arguments.quiet:
        for line in told(arguments.out, index):
            print(line)
    return 0


def size(text):
    """(H, W) of --resize, None for none."""
    if text == "none":
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise InputError(f"--resize {text}: expected H,W in pixels, or none")
    return int(parts[0]), int(parts[1])


def told(out, index):
    for split, found in index["splits"].items():
        megabytes = sum(entry["bytes"] for entry in found["shards"]) / 1e6
        yield (f"{split}: {found['pictures']} pictures, {found['channels']} channel{'s' * (found['channels'] > 1)} of "
               f"{found['depth']} bit, in {len(found['shards'])} shards of {megabytes:.0f} MB together")
        for name, reason in found["skipped"]:
            yield f"left out: {name}: {reason}"
        for note in found["notes"]:
            yield f"note: {note}"
    yield f"shards: {out}"
