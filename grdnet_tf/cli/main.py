"""`grdnet SUBCOMMAND ...`: each subcommand is the file of its name in this folder."""
import sys
from importlib import import_module

from .. import __version__
from ..console import ended

COMMANDS = {
    "train": "train on a folder of defect-free pictures",
    "evaluate": "measure a run on labelled pictures, compare runs",
    "compare": "show evaluated runs of one product side by side",
    "predict": "judge new pictures: files, folders, video, camera, a watched folder",
    "calibrate": "fit or set the thresholds on new good pictures",
    "export": "turn a run into a SavedModel for TensorFlow Serving",
    "verify": "compare an export, or a bundle of one, with its digests and its signature",
    "sign": "sign an export, or a bundle of one, with a private key",
    "check": "look a data folder over before training",
    "align": "turn loose parts upright, into a new data folder",
    "shards": "store a data folder in a few large files",
    "roi": "draw a region of interest, or let it be proposed",
    "demo": "draw the demo set into a folder",
}


def main(argv=None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in COMMANDS:
        return import_module(f"{__package__}.{words[0]}").main(words[1:])
    return ended(lambda: tell(words))


def tell(words) -> int:
    """What is not a subcommand's."""
    if words and words[0] == "--version":
        print(f"grdnet {__version__}")
        return 0
    lines = ["usage: grdnet SUBCOMMAND ...     grdnet SUBCOMMAND --help     grdnet --version", "",
             *(f"  {name:<10}{what}" for name, what in COMMANDS.items())]
    wrong = bool(words) and words[0] not in ("-h", "--help")
    if wrong:
        lines = [f"error: grdnet {words[0]}: no such subcommand; there are {', '.join(COMMANDS)}"]
    print("\n".join(lines), file=sys.stderr if wrong or not words else sys.stdout)
    return 0 if words and not wrong else 2


if __name__ == "__main__":
    sys.exit(main())
