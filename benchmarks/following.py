"""How well does the region follow the part? The demo set with more movement, the true region known for each picture.

    python benchmarks/following.py [--pictures 60] [--size 128]

A line a range of movement: the mean overlap (intersection over union) of the drawn region with the true one where it
stays and where it follows, the lowest of the followed, how many parts were not found, how many were found wrongly (an
overlap below 0.8), milliseconds of processor time a picture. A third of the pictures has a defect.
"""
import argparse
import os
import sys
import time

import numpy as np

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)

RANGES = (("as the demo set", None, None), ("up to 12 units, 5 degrees", (12, 12), 5),
          ("up to 12 units, 15 degrees", (12, 12), 15), ("up to 20 and 16 units, 30 degrees", (20, 16), 30))


def drawn(number, size, shift=None, turn=None):
    """(picture, true region) of a strip of vials; `shift` (u, v) in 1/128 of the height, `turn` in degrees, at most."""
    from grdnet_tf.demo import render, scene

    rng = np.random.default_rng([17, number])
    chosen = scene.sample_scene(rng, size)
    if shift is not None:
        chosen = chosen._replace(shift=rng.uniform(-1, 1, 2) * shift, angle=float(np.radians(rng.uniform(-turn, turn))))
    marks = []
    while number % 3 == 0 and not marks:
        mark = scene.sample_defect(rng, scene.DEFECTS[number % len(scene.DEFECTS)], chosen)
        marks = [mark] if render.mark_mask(mark, chosen, size).any() else []
    return render.draw(chosen, size, marks, np.random.default_rng(number)), render.draw_roi(chosen, size)


def overlap(a, b):
    return np.sum(a & b) / np.sum(a | b)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args(argv)
    from grdnet_tf.data import following

    size = (arguments.size, arguments.size)
    reference, region = drawn(1, size, (0, 0), 0)
    for name, shift, turn in RANGES:
        stays, follows, correlations, lost, spent = [], [], [], 0, 0.0
        for number in range(2, arguments.pictures + 2):
            picture, truth = drawn(number, size, shift, turn)
            begin = time.process_time()
            motion = following.find(reference, region, picture)
            spent += time.process_time() - begin
            found = region if motion is None else following.moved(region, motion.matrix) > 0
            stays.append(overlap(region, truth))
            follows.append(overlap(found, truth))
            lost += motion is None
            correlations += [motion.correlation] if motion else []
        wrong = sum(value < 0.8 for value in follows) - lost
        print(f"{name}: stays {np.mean(stays):.3f}, follows {np.mean(follows):.3f} (lowest {np.min(follows):.3f}), not "
              f"found {lost}, wrong {wrong} of {arguments.pictures}, lowest correlation {min(correlations):.2f}, "
              f"{1000 * spent / arguments.pictures:.0f} ms")


if __name__ == "__main__":
    main()
