"""Runs killed at random moments and resumed, against the same run undisturbed: the same bits, or it says which differ.

    python benchmarks/faults.py                            every schedule, precision, average and checkpoint rhythm
    python benchmarks/faults.py --cases float16 --kills 5  those whose name has "float16" in it

Of each case one run goes through; another is killed by SIGKILL `--kills` times, resumed each time, and then let
through. Compared are weights_sha256, best/weights.npz, and metrics.csv without its minutes, see `differences`. POSIX
only: TensorFlow is imported once and every run is a fork of that process. Exit status 1 if anything differs.
"""
import argparse
import csv
import itertools
import json
import math
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SETTINGS = {
    "data": {"image_size": [16, 16], "held_out": 0.2},
    "network": {"widths": [4, 8], "stem": 0, "blocks": 1, "latent": 4, "discriminator_widths": [4, 8],
                "segmenter_widths": [4, 8], "score_pool": 3},
    "noise": {"scales": [0, 3], "min_area": 2, "threshold": [0.0, 0.3]},
    "validation": {"views": 4, "scales": [0, 2], "min_area": 2, "sources": {"color_blob": 1},
                   "shapes": {"blob": 1}},
    # An epoch without progress lowers the rate by a tenth at once: with plateau the rates move within a few epochs.
    "train": {"epochs": 6, "steps_per_epoch": 7, "batch_size": 4, "learning_rate": 0.01, "image_every": 0,
              "plateau_patience": 1, "deterministic": True},
}
# A kill costs the tracing of what follows it: a stage a network, one kind of defect.
SMALL = {"network.widths": [4], "network.discriminator_widths": [4], "network.segmenter_widths": [4],
         "noise.sources": {"color_blob": 1}, "noise.shapes": {"blob": 1}, "train.epochs": 8, "train.steps_per_epoch": 3}
CASES = {f"{schedule} {precision} ema={ema} checkpoint_steps={every}": {
             **SMALL, "train.schedule": schedule, "train.precision": precision, "train.ema": ema,
             "train.checkpoint_steps": every}
         for schedule, precision, ema, every in itertools.product(
             ("plateau", "cosine"), ("float32", "mixed_bfloat16", "mixed_float16"), (0, 0.9), (0, 2))}


def draw(root, count=15, side=20):
    """`root`/train/good: small pictures of a disc on a gradient."""
    import cv2
    import numpy as np

    folder, rng = os.path.join(root, "train", "good"), np.random.default_rng(0)
    os.makedirs(folder)
    for i in range(count):
        image = np.tile(np.linspace(40, 120, side, dtype=np.float32)[:, None, None], (1, side, 3))
        centre = tuple(int(v) for v in rng.integers(side * 2 // 5, side * 3 // 5, 2))
        cv2.circle(image, centre, side // 4, (200, 180, 160), -1)
        cv2.imwrite(os.path.join(folder, f"{i:02d}.png"), (image + rng.normal(0, 4, image.shape)).astype(np.uint8))
    return root


def flags(settings):
    """{key: value} as --set flags."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def all_settings(**more):
    """SETTINGS as {section.key: value}, with `more` over it."""
    return {**{f"{section}.{key}": value for section, keys in SETTINGS.items() for key, value in keys.items()}, **more}


def result(run):
    """What two runs of the same configuration must have in common, by name."""
    from grdnet_tf.storage import fingerprint, read_arrays

    with open(os.path.join(run, "metrics.csv"), newline="", encoding="utf-8") as stream:
        rows = [{key: value for key, value in row.items() if key != "minutes"} for row in csv.DictReader(stream)]
    with open(os.path.join(run, "summary.json"), encoding="utf-8") as stream:
        summary = json.load(stream)
    arrays, state = read_arrays(os.path.join(run, "best", "weights.npz"))
    found = {f"{name} of epoch {row['epoch']}": value for row in rows for name, value in row.items()}
    return {**found, "weights": summary["weights_sha256"], "best": fingerprint(arrays), "best epoch": state["epoch"]}


def differences(one, other):
    """[name] of what differs between two results: weights, epochs and keys at all, figures by more than 1e-5 of them.

    What a process traces first changes how TensorFlow rewrites its graphs: a mean that is logged may then be added up in
    another order, where all weights are the same bits (a mean's gradient does not depend on its value).
    """
    def same(name):
        a, b = one.get(name), other.get(name)
        if a == b or None in (a, b) or " of epoch " not in name:
            return a == b
        return math.isclose(float(a), float(b), rel_tol=1e-5, abs_tol=1e-7)

    return [name for name in dict.fromkeys([*one, *other]) if not same(name)]


class Forks:
    """train.py in processes that need not import TensorFlow again."""

    def __init__(self, log):
        from grdnet_tf.cli import train
        from grdnet_tf.training import fit  # noqa: F401  TensorFlow, which starts no thread before its first operation

        self.main, self.log = train.main, log

    def start(self, argv):
        """The id of the process."""
        process = os.fork()
        if process:
            return process
        status = 1
        try:
            for descriptor in (1, 2):
                os.dup2(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
            status = self.main(argv)
        finally:
            os._exit(status)

    def complete(self, argv):
        """Wait until it has ended; RuntimeError with what it wrote unless its exit status is 0."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.start(argv), 0)[1])
        if status:
            with open(self.log, encoding="utf-8", errors="replace") as stream:
                raise RuntimeError(f"exit status {status}: {' '.join(argv)}\n{stream.read()[-3000:]}")

    def kill(self, argv, moment, moves=None):
        """Kill it by SIGKILL `moment` seconds after `moves()` first gives something else; False if it ended before.

        Without `moves` after so many seconds.
        """
        before, process, since = moves and moves(), self.start(argv), None if moves else time.monotonic()
        while True:
            if os.waitpid(process, os.WNOHANG)[0]:
                return False
            if since is None and moves() != before:
                since = time.monotonic()
            if since is not None and time.monotonic() - since >= moment:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                return True
            time.sleep(0.0005)


def newest(run):
    """The names in the folders of a run, which change with each file that is begun or finished."""
    found = []
    for part in ("", "checkpoints", "best"):
        folder = os.path.join(run, part)
        found += sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return found


def checkpoints(run):
    """The names of the checkpoints of a run that are there, the oldest first."""
    folder = os.path.join(run, "checkpoints")
    return sorted(name for name in (os.listdir(folder) if os.path.isdir(folder) else ())
                  if re.fullmatch(r"step-\d+\.npz", name))


def watched(forks, argv, run):
    """Train `run` undisturbed: [(seconds since its folder was made, the newest checkpoint then)], one a checkpoint."""
    process, begun, seen = forks.start(argv), None, []
    while not os.waitpid(process, os.WNOHANG)[0]:
        now = time.monotonic()
        if begun is None and newest(run):
            begun = now
        last = checkpoints(run)[-1:]
        if last and last != [name for _, name in seen[-1:]]:
            seen.append((now - begun, last[0]))
        time.sleep(0.002)
    if not os.path.isfile(os.path.join(run, "summary.json")):
        forks.complete([*argv[:-1], run + " again"])  # raises with what it says
    return seen


def try_case(forks, data, folder, settings, kills, rng):
    """(kills that struck, what differs) of one case."""
    whole, killed = os.path.join(folder, "whole"), os.path.join(folder, "killed")
    given = ["--data", data, "--no-jit", *flags(settings)]
    seen = watched(forks, [*given, "--run", whole], whole)
    tracing, between = seen[0][0], (seen[-1][0] - seen[0][0]) / max(1, len(seen) - 1)
    struck = 0
    for attempt in range(kills):
        resume = os.path.exists(os.path.join(killed, "config.yaml"))
        argv = ["--run", killed, "--resume"] if resume else [*given, "--run", killed]
        # A checkpoint is waited for, not a time: how fast this machine is just now does not decide what is struck.
        ahead = [name for _, name in seen if name > (checkpoints(killed) or [""])[-1]][:-1]
        if resume and (attempt % 2 or not ahead):  # anywhere while it begins
            struck += forks.kill(argv, rng.uniform(0, tracing / 3))
        elif not resume and attempt % 2:  # anywhere from the making of the folder on
            struck += forks.kill(argv, rng.uniform(0, tracing / 3), lambda: newest(killed))
        else:  # while it writes, steps and validates: between a checkpoint early among those ahead and the next one
            target = rng.choice(ahead[:max(1, len(ahead) // (1 + (kills - attempt) // 2))])
            struck += forks.kill(argv, rng.uniform(0, between),
                                 lambda target=target: (checkpoints(killed) or [""])[-1] >= target)
        if os.path.exists(os.path.join(killed, "summary.json")):
            break
    forks.complete(["--run", killed, "--resume"] if os.path.exists(os.path.join(killed, "config.yaml"))
                   else [*given, "--run", killed])
    one, other = result(whole), result(killed)
    return struck, [f"{name} {other.get(name)} for {one.get(name)}" for name in differences(one, other)]


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=3, help="in each case, at most (default: %(default)s)")
    parser.add_argument("--cases", nargs="+", default=[""], metavar="WORD", help="those that have one in their name")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args(argv)
    rng, struck, differing = random.Random(arguments.seed), 0, 0
    chosen = {name: settings for name, settings in CASES.items() if any(word in name for word in arguments.cases)}
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # what killed processes leave of their own goes with it
        data, forks = draw(os.path.join(folder, "data")), Forks(os.path.join(folder, "log"))
        for name, settings in chosen.items():
            begin, place = time.monotonic(), tempfile.mkdtemp()
            kills, differences = try_case(forks, data, place, all_settings(**settings), arguments.kills, rng)
            struck, differing = struck + kills, differing + bool(differences)
            same = "DIFFERENT: " + ", ".join(differences) if differences else "the same bits"
            print(f"{name}: {kills} kills, {same} ({time.monotonic() - begin:.0f} s)", flush=True)
            shutil.rmtree(place)
    print(f"{struck} kills in {len(chosen)} cases, {differing} of them not the same bits")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
