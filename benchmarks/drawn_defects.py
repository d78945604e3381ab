"""Held-out good pictures with defects drawn by OpenCV: a family of defects that no training noise knows, to choose by.

    python benchmarks/drawn_defects.py --data DIR --out OUT        DIR/train/good -> OUT in the MVTec layout
    python evaluate.py --run RUN --data OUT --out REPORT           RUN trained on DIR, same seed and held_out

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
from grdnet_tf.data.records import hold_out, inspect, list_mvtec  # noqa: E402
from grdnet_tf.data.roi import read_roi  # noqa: E402
from grdnet_tf.defects import drawn as drawings  # noqa: E402
from grdnet_tf.errors import InputError  # noqa: E402


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="MVTec layout; only train/good and roi/ are read")
    parser.add_argument("--out", required=True, metavar="OUT", help="folder to make")
    parser.add_argument("--held-out", type=float, default=0.1, help="data.held_out of the run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="train.seed of the run (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=40, help="held-out pictures at most (default: %(default)s)")
    parser.add_argument("--each", type=int, default=30, help="drawings of each type at least (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    try:
        if os.path.exists(arguments.out):
            raise InputError(f"{arguments.out}: exists already")
        records = list_mvtec(arguments.data, "train")
        records = hold_out(records, arguments.held_out, arguments.seed)[1][:arguments.pictures]
        write(inspect(records).records, arguments.out, arguments.each, np.random.default_rng(1))
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
        cv2.imwrite(os.path.join(out, path), pixels)


if __name__ == "__main__":
    sys.exit(main())
