"""Sign an export with a private key, so that `grdnet verify --public-key` can tell who made it."""
import argparse
import os

from ..console import ended
from ..errors import InputError
from . import flags


def parser():
    parser = argparse.ArgumentParser(prog="grdnet sign", description=__doc__)
    parser.add_argument("path", metavar="FILE|DIR", help="a bundle of `grdnet export --bundle`: FILE.sig is written; "
                        "or a version's folder: DIR/model.sig")
    parser.add_argument("--key", metavar="FILE", required=True, help="private key, PEM; of an encrypted one "
                        "GRDNET_KEY_PASSWORD in the environment is the password")
    flags.quiet(parser, "errors alone")
    return parser


def main(argv=None) -> int:
    """Exit status 1 if the export is not what was written, 2 if there is nothing to sign, or no key to sign with."""
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    from ..serving import signing

    for path in (arguments.path, arguments.key):
        if not os.path.exists(path):
            raise InputError(f"{path}: not there")
    written = signing.sign(arguments.path, arguments.key)
    if not arguments.quiet:
        print(f"signed: {written}")
    return 0
