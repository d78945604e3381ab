"""Held-out good pictures with defects drawn by OpenCV: a family of defects that no training noise knows, to choose by.

    python benchmarks/drawn_defects.py --run RUN --out OUT        what RUN held out -> OUT in the MVTec layout
    python evaluate.py --run RUN --data OUT --out REPORT           how well RUN finds them

Those of grdnet_tf/defects/drawn.py, inside the ROI where there is one, at the pictures' own size. A drawing that nobody
would see is drawn again.
"""
import argparse
import os
import sys

import cv2
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from grdnet_tf.data import foreground  # noqa: E402
from grdnet_tf.data.files import read_picture  # noqa: E402
from grdnet_tf.data.roi import read_roi  # noqa: E402
from grdnet_tf.defects import drawn as drawings  # noqa: E402
from grdnet_tf.errors import InputError  # noqa: E402
from grdnet_tf.training import good_pictures, run_folder  # noqa: E402


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, metavar="RUN", help="whose held-out good pictures are drawn on")
    parser.add_argument("--out", required=True, metavar="OUT", help="folder to make")
    parser.add_argument("--pictures", type=int, default=40, help="held-out pictures at most (default: %(default)s)")
    parser.add_argument("--each", type=int, default=30, help="drawings of each type at least (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    try:
        if os.path.exists(arguments.out):
            raise InputError(f"{arguments.out}: exists already")
        held_out = good_pictures.find(arguments.run, run_folder.read_config(arguments.run)).held_out
        if not held_out:
            raise InputError(f"{arguments.run}: it held out no pictures that are still there")
        write(held_out[:arguments.pictures], arguments.out, arguments.each, np.random.default_rng(1))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write(records, out, each, rng):
    """Every picture as it is, and with ceil(each / pictures) drawings of each type."""
    pictures = [read_picture(record.image) for record in records]
    if pictures[0].dtype != np.uint8:
        raise InputError(f"{records[0].image}: 16 bit pictures are not drawn on")
    for i, (record, picture) in enumerate(zip(records, pictures)):
        roi = read_roi(record.roi, picture.shape[:2]) if record.roi else None
        save(picture, None, roi, out, "good", f"{i:03d}")
        part = foreground.find(picture)
        for kind, draw in drawings.kinds(part).items():
            for k in range(-(-each // len(pictures))):
                other = pictures[rng.integers(len(pictures))]
                made = drawings.drawing(kind, draw, picture, other, roi, part, rng)
                if made is not None:
                    save(*made, roi, out, kind, f"{i:03d}_{k}")


def save(picture, mask, roi, out, kind, stem):
    regions = {f"roi/test/{kind}/{stem}.png": roi, f"ground_truth/{kind}/{stem}_mask.png": mask}
    files = {path: 255 * region for path, region in regions.items() if region is not None}
    for path, pixels in {f"test/{kind}/{stem}.png": picture[..., ::-1], **files}.items():
        os.makedirs(os.path.dirname(os.path.join(out, path)), exist_ok=True)
        # Never the bytes of a file that OpenCV wrote by default: an evaluation refuses a picture that set a threshold.
        cv2.imwrite(os.path.join(out, path), pixels, (cv2.IMWRITE_PNG_COMPRESSION, 9))


if __name__ == "__main__":
    sys.exit(main())
