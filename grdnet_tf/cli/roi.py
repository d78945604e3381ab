"""Draw the region of interest of a data folder in a page of the browser, let it be proposed, see it on a sheet."""
import argparse
import os
import sys

from ..console import ended
from ..errors import InputError, ProposalStopped
from . import flags

PAGE = "roi.html"


def parser():
    parser = argparse.ArgumentParser(prog="grdnet roi", description=__doc__)
    parser.add_argument("data", metavar="DIR", help="data folder in the MVTec layout")
    parser.add_argument("--out", metavar="FILE", help=f"the page to write (default: {PAGE} in this folder)")
    parser.add_argument("--propose", action="store_true", help="write DIR/roi.json with the product as the good "
                        "pictures show it; exit status 1 where they do not")
    parser.add_argument("--preview", metavar="FILE",
                        help="write a sheet of good pictures with their region: .png or .jpg")
    parser.add_argument("--force", action="store_true", help="with --propose: replace a roi.json that is there")
    flags.quiet(parser)
    return parser


def main(argv=None) -> int:
    return ended(run, parser().parse_args, argv)


def run(arguments) -> int:
    """The page, unless --propose or --preview is asked for."""
    root, out = arguments.data, arguments.out or PAGE
    if arguments.preview and not arguments.preview.lower().endswith((".png", ".jpg", ".jpeg")):
        raise InputError(f"--preview {arguments.preview}: expected a file .png or .jpg")
    if arguments.force and not arguments.propose:
        raise InputError("--force goes with --propose")
    if arguments.out and (arguments.propose or arguments.preview):
        raise InputError("--out is the page's; it does not go with --propose and --preview")
    from ..data.files import BadImage
    from ..data.shards import is_set

    if is_set(root):
        raise InputError(f"{root}: shards hold the regions as pixels; draw in the data folder, then make them anew")
    tell = (lambda text: None) if arguments.quiet else print
    try:
        if arguments.propose:
            tell(propose(root, arguments.force))
        if arguments.preview:
            tell(preview(root, arguments.preview))
        if not (arguments.propose or arguments.preview):
            tell(page(root, out))
    except BadImage as bad:
        raise InputError(str(bad)) from None
    return 0


def page(root, out):
    """Write the page, what to say of it; it begins with what DIR/roi.json holds already."""
    from ..data import roi
    from ..data.files import read_picture
    from ..data.records import list_mvtec
    from ..report import roi_page
    from ..storage import write_text

    good = list_mvtec(root, "train")
    others = list_mvtec(root, "test") if os.path.isdir(os.path.join(root, "test")) else []
    drawing = roi.find(root)
    shapes = roi.in_shares(drawing, root, read_picture(good[0].image).shape[:2]) if drawing else []
    write_text(out, roi_page.build(root, good, others, shapes))
    say_what_comes_first(root)
    return f"page: {out}: open it in a browser, draw, and save {roi.FILE} into {root}"


def propose(root, force):
    """Write DIR/roi.json, what to say of it. Stops where no region can be proposed."""
    from ..data import proposal, roi
    from ..data.drawings import to_text
    from ..data.records import list_mvtec
    from ..storage import write_text

    good = list_mvtec(root, "train")
    target = os.path.join(root, roi.FILE)
    there = [path for path in (os.path.join(root, name) for name in roi.FILES) if os.path.exists(path)]
    if there and not (force and there == [target]):
        raise InputError(f"{there[0]}: is there already; " + ("--force replaces it" if there == [target]
                                                              else "take it away first"))
    try:
        shapes = proposal.propose(good)
    except proposal.NoProposal as reason:
        raise ProposalStopped(f"no region can be proposed for {root}: {reason}") from None
    write_text(target, to_text(shapes))
    say_what_comes_first(root)
    return (f"proposed: {target}, {len(shapes)} polygon{'s' if len(shapes) > 1 else ''}; see it with grdnet roi {root} "
            f"--preview FILE, change it with grdnet roi {root}")


def preview(root, out):
    """Write the sheet of good pictures, what to say of it."""
    import cv2

    from ..data.records import list_mvtec
    from ..report import roi_page
    from ..storage import write_file

    good = list_mvtec(root, "train")
    if not good[0].roi:
        raise InputError(f"{root}: no ROI for the good pictures; grdnet roi {root} draws one")
    drawn = cv2.imencode(os.path.splitext(out)[1], roi_page.sheet(good)[..., ::-1])[1].tobytes()
    write_file(out, lambda stream: stream.write(drawn))
    return f"preview: {out}"


def say_what_comes_first(root):
    """ROIs in DIR/roi come before the drawing for all: who draws must know it."""
    from ..data.layout import train_folder

    folder = os.path.join(root, "roi", os.path.relpath(train_folder(root), root))
    if os.path.isdir(folder):
        print(f"note: {folder} holds ROIs, which come before {os.path.join(root, 'roi.json')}", file=sys.stderr)
