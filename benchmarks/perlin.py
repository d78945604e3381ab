"""How fast the synthetic defects are drawn: images/s, and as ratios to a plain NumPy version of the same noise.

    python benchmarks/perlin.py [--size 256] [--batch 16] [--channels 3] [--rounds 10]

The NumPy reference looks up the four corners of each pixel's lattice cell, one picture at a time, as usual published
code does. All forms run in turns and the fastest round of each counts, so that a busy machine slows all alike.
"""

import argparse
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="height and width of the pictures")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--channels", type=int, default=3, choices=(1, 3))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--against-host", action="store_true", help="also whether the device draws the host's masks")
    parser.add_argument("--forms", type=int, metavar="N", help="only the first N of the forms (default: all)")
    parser.add_argument("--json", metavar="FILE", help="append what is measured as JSON lines")
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    if arguments.against_host:
        compare(arguments.size, arguments.batch, arguments.channels, arguments.json)
    measure(arguments.size, arguments.batch, arguments.channels, arguments.rounds, arguments.json,
            arguments.forms)
    return 0


def compare(size, batch, channels, json):
    """Defects of every source and shape from the same seeds, on the device (graph, XLA) and on the host."""
    import numpy as np
    import tensorflow as tf

    from benchmarks import lines
    from grdnet_tf.defects.perturb import perturb
    from grdnet_tf.options import SHAPES, SOURCES, Noise

    random = np.random.default_rng(0)
    image = random.random((batch, size, size, channels), dtype=np.float32)
    seed = np.stack([np.ones(batch), np.arange(batch)], 1).astype(np.int32)
    textures = random.integers(0, 256, (4, size, size, channels), dtype=np.uint8)
    noise = Noise(probability=1.0).replace(sources={name: 1.0 for name in SOURCES if name != "real"},
                                           shapes={name: 1.0 for name in SHAPES})

    def drawn(device, compiled):
        with tf.device(device):
            function = tf.function(lambda a, b, c: perturb(a, None, b, noise, c), jit_compile=compiled)
            found = function(tf.constant(image), tf.constant(seed), tf.constant(textures))
            return found.mask.numpy(), found.noisy.numpy()

    gpu = bool(tf.config.list_logical_devices("GPU"))
    host = drawn("CPU:0", False)
    for name, device, compiled in (("graph", "GPU:0" if gpu else "CPU:0", False),
                                   ("XLA", "GPU:0" if gpu else "CPU:0", True)):
        mask, noisy = drawn(device, compiled)
        same = mask == host[0]
        agree = np.broadcast_to(same, noisy.shape)
        apart = float(np.abs(noisy - host[1])[agree].max())
        told = {"device": device, "form": name, "masked": float(host[0].mean()), "pixels": int(same.size),
                "pixels_of_another_mask": int((~same).sum()), "largest_difference_elsewhere": apart}
        print(f"{device} ({name}) against the host in a graph: {told['pixels_of_another_mask']} of {same.size} pixels "
              f"of the masks differ, colours elsewhere by up to {apart:.2g}{'' if gpu else '; no GPU: both the host'}",
              flush=True)
        lines.add(json, **told)


def measure(size, batch, channels, rounds, json=None, most=None):
    import numpy as np
    import tensorflow as tf

    from benchmarks import lines
    from grdnet_tf.defects.perlin import cells, perlin_noise
    from grdnet_tf.defects.perturb import perturb, sample
    from grdnet_tf.options import SHAPES, SOURCES, Noise

    random = np.random.default_rng(0)
    image = tf.constant(random.random((batch, size, size, channels), dtype=np.float32))
    seed = tf.constant(np.stack([np.zeros(batch), np.arange(batch)], 1).astype(np.int32))
    textures = tf.constant(random.integers(0, 256, (4, size, size, channels), dtype=np.uint8))
    defaults = Noise(probability=1.0)

    def only_noise():
        draws = sample(seed, defaults)
        cells_y, cells_x = (cells(defaults.scales, draws.sample[:, i]) for i in (4, 5))
        return perlin_noise(draws.lattice, cells_y, cells_x, size, size)

    def whole(**changes):
        return lambda: perturb(image, None, seed, defaults.replace(**changes), textures)

    forms = [("noise alone", only_noise), ("perturb, not turned", whole(rotation=0.0))]
    forms += [(f"perturb, {name}", whole(sources={name: 1.0})) for name in SOURCES if name != "real"]
    forms += [(f"perturb, {name}", whole(shapes={name: 1.0})) for name in SHAPES[1:]]
    forms = forms[:most]
    functions = {("NumPy, noise alone", False): lambda: [numpy_perlin(random, size, size, np) for _ in range(batch)]}
    for name, function in forms:
        for compiled in (False, True):
            functions[name, compiled] = tf.function(function, jit_compile=compiled)
    seconds = fastest(functions, rounds)

    devices = [device.device_type for device in tf.config.list_logical_devices()]
    machine = f"TensorFlow {tf.__version__}, {os.cpu_count()} cores, {devices}"
    print(f"{size} x {size} x {channels}, batch {batch}, {machine}")
    print(f"{'':24}{'graph':>17}{'XLA':>18}")
    for name in dict.fromkeys(name for name, _ in functions):
        print(f"{name:24}", end="")
        for compiled in (False, True):
            if (name, compiled) in seconds:
                speedup = seconds["NumPy, noise alone", False] / seconds[name, compiled]
                print(f"{batch / seconds[name, compiled]:8.0f}/s{speedup:6.1f} x", end="")
                lines.add(json, what=name, xla=compiled, images_per_second=batch / seconds[name, compiled])
        print()


def numpy_perlin(random, height, width, np):
    """One picture of the same noise, drawn and computed by NumPy."""
    cells_y, cells_x = 2 ** random.integers(0, 6, 2)
    angle = 2.0 * np.pi * random.random((cells_y + 1, cells_x + 1), dtype=np.float32)
    gradient_y, gradient_x = np.sin(angle), np.cos(angle)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y * (cells_y / height), x * (cells_x / width)
    top, left = y.astype(int), x.astype(int)
    y, x = y - top, x - left
    fade_y, fade_x = (((6.0 * t - 15.0) * t + 10.0) * t * t * t for t in (y, x))

    def corner(down, right):
        return gradient_y[top + down, left + right] * (y - down) + gradient_x[top + down, left + right] * (x - right)

    upper = corner(0, 0) + fade_x * (corner(0, 1) - corner(0, 0))
    lower = corner(1, 0) + fade_x * (corner(1, 1) - corner(1, 0))
    return np.sqrt(2.0) * (upper + fade_y * (lower - upper))


def fastest(functions, rounds):
    """Seconds of the fastest call of each, by key; every round calls all of them, the first one only warms up."""
    seconds = {key: float("inf") for key in functions}
    for turn in range(rounds + 1):
        for key, function in functions.items():
            start = time.perf_counter()
            result = function()
            if not isinstance(result, list):  # wait for a device that computes on its own
                getattr(result, "noisy", result).numpy()
            if turn:
                seconds[key] = min(seconds[key], time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
