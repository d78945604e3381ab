#!/usr/bin/env python
"""Pixel metrics of many maps: time and memory of the histogram against scikit-learn's exact sort, in one run.

    python benchmarks/metrics.py [--maps 200] [--size 256] [--repeat 3] [--large 2000]
"""
import argparse
import os
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from grdnet_tf.evaluation import metrics  # noqa: E402
from grdnet_tf.evaluation.histogram import PixelHistogram  # noqa: E402
from grdnet_tf.evaluation.regions import connected  # noqa: E402


def draw(rng, size):
    """A map as a trained network gives it: low, with a bump on a defect in one of two."""
    logits = rng.standard_normal((size, size), dtype=np.float32) * 2 - 5
    truth = np.zeros((size, size), bool)
    if rng.random() < 0.5:
        y, x = rng.integers(0, size - size // 8, 2)
        truth[y:y + size // 8, x:x + size // 8] = True
    return (1 / (1 + np.exp(-(logits + 3 * truth)))).astype(np.float32), truth


def ours(maps, truths, regions):
    histogram = PixelHistogram()
    for single, truth, labels in zip(maps, truths, regions):
        histogram.add(single, truth, regions=labels)
    return summarise(histogram)


def summarise(histogram):
    cells = histogram.cells()
    ranking = metrics.rank_pixels(cells)
    return {"AUROC": metrics.auroc(ranking), "AP": metrics.average_precision(ranking),
            "AUPRO": metrics.aupro(ranking, cells.regions, histogram.n_regions)}


def best(function, repeat):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def compare(count, size, repeat):
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(0)
    maps, truths = (np.stack(part) for part in zip(*(draw(rng, size) for _ in range(count))))
    regions = [connected(truth) for truth in truths]
    seconds, found = best(lambda: ours(maps, truths, regions), repeat)
    auroc_seconds, auroc = best(lambda: roc_auc_score(truths.ravel(), maps.ravel()), repeat)
    ap_seconds, ap = best(lambda: average_precision_score(truths.ravel(), maps.ravel()), repeat)
    print(f"{count} maps of {size} x {size}, {maps.size / 1e6:.1f} million pixels, best of {repeat}")
    print(f"  histogram: AUROC, AP and AUPRO   {seconds:8.3f} s   {1e9 * seconds / maps.size:6.1f} ns a pixel")
    print(f"  scikit-learn: roc_auc_score      {auroc_seconds:8.3f} s   {auroc_seconds / seconds:6.1f} times as long")
    print(f"  scikit-learn: AUROC and AP       {auroc_seconds + ap_seconds:8.3f} s   "
          f"{(auroc_seconds + ap_seconds) / seconds:6.1f} times as long")
    print(f"  differences: AUROC {abs(found['AUROC'] - auroc):.1e}, AP {abs(found['AP'] - ap):.1e}")


def stream(count, size):
    """Peak memory of this process, in MB, after `count` maps that are drawn, counted and forgotten."""
    import resource

    rng = np.random.default_rng(0)
    pool = [(single, truth, connected(truth)) for single, truth in (draw(rng, size) for _ in range(8))]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    histogram = PixelHistogram()
    for i in range(count):
        single, truth, labels = pool[i % len(pool)]
        histogram.add(single, truth, regions=labels)
    summarise(histogram)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scale = 2 ** 20 if sys.platform == "darwin" else 2 ** 10
    print(f"{after / scale:.0f} {(after - before) / scale:.0f}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--large", type=int, default=2000, help="maps of the larger memory measurement")
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.stream:
        stream(arguments.stream, arguments.size)
        return 0
    for count in (arguments.large // 10, arguments.large):
        done = subprocess.run([sys.executable, os.path.abspath(__file__), "--stream", str(count), "--size",
                               str(arguments.size)], capture_output=True, text=True, check=True)
        whole, own = done.stdout.split()
        print(f"memory for {count} maps: process {whole} MB, of it the metrics {own} MB")
    # After the memory: a child process begins with its parent's peak as its own.
    compare(arguments.maps, arguments.size, arguments.repeat)
    return 0


if __name__ == "__main__":
    sys.exit(main())
