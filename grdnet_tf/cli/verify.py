"""Is what was exported still what the export wrote? Every digest of a folder of versions, or of a bundle."""
import argparse
import os

from ..console import ended
from ..errors import ExportStopped, InputError
from . import flags


def parser():
    parser = argparse.ArgumentParser(prog="grdnet verify", description=__doc__)
    parser.add_argument("path", metavar="FILE|DIR", help="a bundle of `grdnet export --bundle`; a version's folder, a "
                        "model's, or all that a server shares")
    parser.add_argument("--public-key", metavar="FILE", help="also the signature of `grdnet sign`: PEM file of the "
                        "key's public half; what is unsigned, or not as it was signed, is refused with status 2")
    flags.quiet(parser, "errors alone")
    return parser


def main(argv=None) -> int:
    """Exit status 1 if anything is not what was written, 2 if there is nothing to look at; with a key always 2."""
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    from ..serving import bundle, signing

    path, key = arguments.path, arguments.public_key
    for needed in (path, key):
        if needed is not None and not os.path.exists(needed):
            raise InputError(f"{needed}: not there")
    try:
        found = bundle.published(path) if os.path.isdir(path) else [(path, len(bundle.verify(path)))]
    except ExportStopped as error:
        if key:
            raise InputError(str(error)) from None
        raise
    for name, count in found:
        if key:
            signing.check(name, key)
            signed = f"signed with {key}"
        else:
            signed = "signed, not looked at: --public-key" if os.path.isfile(signing.place(name)) else "unsigned"
        if not arguments.quiet:
            print(f"as written: {name} ({count} files; {signed})")
    return 0
