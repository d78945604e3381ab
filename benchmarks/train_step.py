"""Speed of a training step: images/s, GFLOP an image, and the share of this machine's matrix-product rate it reaches.

    python benchmarks/train_step.py                                          demo and paper configs, float32, no XLA
    python benchmarks/train_step.py --precision float32 mixed_bfloat16 --jit off on
    python benchmarks/train_step.py --config configs/paper.yaml --batch 2 --parts

GFLOP counts the convolutions and matrix products of the traced step, forward and backward, a multiplication and an
addition as two. The matrix product runs in the same number format, on the same machine, in turns with the step, so that
a busy machine slows both alike; of each the fastest turn counts. On a GPU "float32" multiplies in float32 and "tf32" in
TF32, which is what TensorFlow does there by itself.
"""
import argparse
import os
import sys
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CONFIGS = [os.path.join(PROJECT, "configs", name) for name in ("demo.yaml", "paper.yaml")]
MATRIX = {"CPU": 2048, "GPU": 8192}  # side of the square matrices: large enough for the full rate, 17 and 1100 GFLOP
FORMATS = {"float32": "float32", "tf32": "float32", "mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", nargs="+", default=CONFIGS, metavar="FILE")
    parser.add_argument("--set", metavar="a.b=c", action="append", default=[], help="a key of the configuration")
    parser.add_argument("--precision", nargs="+", default=["float32"],
                        choices=tuple(FORMATS))
    parser.add_argument("--jit", nargs="+", default=["off"], choices=("off", "on"), help="XLA")
    parser.add_argument("--batch", type=int, help="batch size (default: the config's)")
    parser.add_argument("--turns", type=int, default=5,
                        help="measured steps (default: %(default)s); 0 counts the work and measures nothing")
    parser.add_argument("--parts", action="store_true", help="also the noise's and SSIM's share of the step")
    parser.add_argument("--json", metavar="FILE", help="append each line of the table as JSON")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    from grdnet_tf.config import load_config
    from grdnet_tf.errors import InputError

    try:
        overrides = ["data.channels='3'"] + arguments.set
        configs = [(os.path.basename(file), load_config(file, overrides)) for file in arguments.config]
        import keras
        import tensorflow as tf

        device = tf.config.list_logical_devices("GPU") or f"CPU, {len(os.sched_getaffinity(0))} cores"
        print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {device}")
        print(f"{'config':16} {'size':>9} {'batch':>5} {'precision':14} {'XLA':3} {'s/step':>7} {'images/s':>8} "
              f"{'GFLOP/image':>11} {'GFLOP/s':>8} {'matmul':>8} {'share':>6}", flush=True)
        for name, config in configs:
            for precision in arguments.precision:
                for jit in arguments.jit:
                    report(name, config, arguments.batch or config.train.batch_size, precision, jit == "on",
                           arguments.turns, arguments.parts, arguments.json)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def report(name, config, batch_size, precision, jit, turns, parts, json=None):
    """One line of the table."""
    import tensorflow as tf

    from benchmarks import lines
    from grdnet_tf.config import replace

    row = {"config": name, "batch": batch_size, "precision": precision, "xla": jit}
    if precision == "tf32" and not tf.config.list_logical_devices("GPU"):
        print(f"{name:16} {'':9} {batch_size:5} {precision:14} {'on' if jit else 'off':3} skipped: TF32 is a GPU's")
        lines.add(json, **row, skipped="TF32 is a GPU's")
        return
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    tf.keras.mixed_precision.set_global_policy("float32" if precision == "tf32" else precision)
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    model, batch = build(replace(config, train__jit="on" if jit else "off"), batch_size)
    flop = count_flop(tf.function(model.train_step).get_concrete_function(batch).graph)
    size = "{}x{}".format(*config.data.trained_size)
    setting = f"{name:16} {size:>9} {batch_size:5} {precision:14} {'on' if jit else 'off':3}"
    if not turns:
        print(f"{setting} {'':16} {flop / batch_size / 1e9:11.2f}", flush=True)
        return
    step = tf.function(model.train_step, jit_compile=jit)
    side, product = matrix_product(FORMATS[precision])
    jobs = {"step": lambda: step(batch), "product": product}
    if parts:
        jobs.update(part_jobs(model, batch, jit))
    seconds = fastest(jobs, turns)
    rate, peak = flop / seconds["step"] / 1e9, 2 * side ** 3 / seconds["product"] / 1e9
    print(f"{setting} {seconds['step']:7.3f} {batch_size / seconds['step']:8.2f} {flop / batch_size / 1e9:11.2f} "
          f"{rate:8.1f} {peak:8.1f} {rate / peak:6.1%}", flush=True)
    lines.add(json, **row, size=list(config.data.trained_size), seconds=seconds["step"], turns=turns,
              images_per_second=batch_size / seconds["step"], gflop_per_image=flop / batch_size / 1e9,
              gflops=rate, matrix_gflops=peak, share=rate / peak)
    for part in sorted(set(seconds) - {"step", "product"}):
        share = seconds[part] / seconds["step"]
        print(f"{'':16} {part}: {seconds[part] * 1e3:.1f} ms, {share:.1%} of the step", flush=True)


def build(config, batch_size):
    """The compiled model of a configuration and one random batch; the noise is made within the step."""
    import numpy as np
    import tensorflow as tf

    from grdnet_tf.config import replace
    from grdnet_tf.training import building

    model = building.build_model(config)
    building.compile_model(model, replace(config, train__steps_per_epoch=100), data=None)  # its length is not needed then
    rng = np.random.default_rng(0)
    height, width = config.data.trained_size
    coarse = rng.random((batch_size, height // 8, width // 8, 3), np.float32)
    image = tf.image.resize(coarse, (height, width), "bilinear")
    roi = np.zeros((batch_size, height, width, 1), np.float32)
    roi[:, height // 4:, width // 4:] = 1
    seed = np.stack([np.full(batch_size, 1), np.arange(batch_size)], -1).astype(np.int32)
    return model, {"image": image, "roi": tf.constant(roi), "seed": tf.constant(seed)}


def count_flop(graph) -> int:
    """FLOP of the convolutions and matrix products of a traced function with static shapes, but for the noise's."""
    kernels = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "DepthwiseConv2dNative", "Conv3D")
    total = 0
    for op in graph.get_operations():
        if op.type == "Conv2D":  # each output value: height x width x channels of its kernel
            total += 2 * op.outputs[0].shape.num_elements() * op.inputs[1].shape[:3].num_elements()
        elif op.type == "Conv2DBackpropInput":  # the same products, seen from the gradient (or Conv2DTranspose's input)
            total += 2 * op.inputs[2].shape.num_elements() * op.inputs[1].shape[:3].num_elements()
        elif op.type == "Conv2DBackpropFilter":
            total += 2 * op.inputs[2].shape.num_elements() * op.outputs[0].shape[:3].num_elements()
        elif op.type in ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
            transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
            if op.outputs[0].shape.num_elements() is None:
                continue  # the noise, for as many pictures as a defect falls on
            total += 2 * op.outputs[0].shape.num_elements() * op.inputs[0].shape[-2 if transposed else -1]
        elif op.type in kernels:
            raise NotImplementedError(f"{op.type} is not counted yet")
    for function in graph.as_graph_def().library.function:  # nothing of weight may hide where shapes are unknown
        hidden = [node.op for node in function.node_def if node.op in kernels]
        if hidden:
            raise NotImplementedError(f"convolutions within {function.signature.name} are not counted: {hidden}")
    return total


def matrix_product(dtype):
    """(side, function); of the product one number is returned: the whole would take longer to fetch from a GPU."""
    import tensorflow as tf

    side = MATRIX["GPU" if tf.config.list_logical_devices("GPU") else "CPU"]
    left, right = [tf.cast(tf.random.stateless_uniform((side, side), (0, i)), dtype) for i in (1, 2)]
    return side, tf.function(lambda: tf.linalg.matmul(left, right)[0, 0])


def part_jobs(model, batch, jit):
    """The noise alone, and SSIM with its gradient alone, each compiled as the step is."""
    import tensorflow as tf

    from grdnet_tf.model import losses

    @tf.function(jit_compile=jit)
    def noise():
        return model.perturbed(batch)["noisy"]

    fake = tf.reverse(batch["image"], [1])

    @tf.function(jit_compile=jit)
    def ssim():
        with tf.GradientTape() as tape:
            tape.watch(fake)
            loss = losses.ssim_loss(batch["image"], fake)
        return tape.gradient(loss, fake)

    return {"noise": noise, "SSIM": ssim}


def fastest(jobs, turns):
    """Seconds of each job's fastest turn, after one turn to trace and compile; the jobs take turns."""
    best = {}
    for turn in range(turns + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            wait(job())
            if turn:
                best[name] = min(time.perf_counter() - start, best.get(name, float("inf")))
    return best


def wait(result):
    """Until an accelerator has finished too."""
    import tensorflow as tf

    for value in tf.nest.flatten(result):
        value.numpy()


if __name__ == "__main__":
    sys.exit(main())
