"""Speed of a detection in each form that a model can be had in: latency of one picture, images/s of batches, as ratios.

    python benchmarks/inference.py                                  the demo configuration with fresh weights
    python benchmarks/inference.py --run runs/demo --threads 1      a trained run, on one core
    python benchmarks/inference.py --config configs/paper.yaml --rounds 5
    python benchmarks/inference.py --only tftrt --apart 0.01       one further form beside Keras and the SavedModel

Every form gives score, decision and map of the same pictures as NumPy arrays; "+ decode" starts from PNG files instead
of tensors. Scores, and decisions at a threshold amid them, are compared with Keras' before anything is timed.
The forms run in turns, so that a busy machine slows all alike; the ratio says how many times as long as the fastest one
a form's median call takes. CPU ms is the processor time of a call, all threads together: on a busy machine the steadier
number.
"""
import argparse
import os
import shutil
import sys
import tempfile
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

AGREE = 1e-4  # of the scores of any two forms
KERAS, SESSION, DECODE, ONNX = "Keras predict", "SavedModel session", "SavedModel + decode", "ONNX Runtime (CPU)"
PROVIDERS = {"onnx": "CPUExecutionProvider", "onnx-cuda": "CUDAExecutionProvider",
             "onnx-tensorrt": "TensorrtExecutionProvider"}
FURTHER = (*PROVIDERS, "openvino", "tftrt")  # forms beside those of TensorFlow alone
OUTPUTS = ("score", "anomaly_map", "is_anomalous")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", metavar="RUN", help="run folder that train.py wrote")
    parser.add_argument("--config", metavar="FILE", default=os.path.join(PROJECT, "configs", "demo.yaml"),
                        help="without --run: a configuration, with fresh weights (default: demo.yaml)")
    parser.add_argument("--set", metavar="a.b=c", action="append", default=[], help="a key of the configuration")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 16], metavar="N", help="default: 1 8 16")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="cores to use (default: all)")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each form (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=10, help="calls a turn (default: %(default)s)")
    parser.add_argument("--only", nargs="*", choices=FURTHER, metavar="FORM",
                        help=f"of {', '.join(FURTHER)}, beside those of TensorFlow (default: onnx openvino)")
    parser.add_argument("--apart", type=float, default=AGREE, metavar="X",
                        help="how far the scores of two forms may be apart (default: %(default)s; TF32 takes more)")
    parser.add_argument("--keep", metavar="DIR", help="where the exported forms stay, and are taken from when there")
    parser.add_argument("--json", metavar="FILE", help="append each line of the table as JSON")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    from grdnet_tf.config import load_config
    from grdnet_tf.errors import InputError
    from grdnet_tf.training import run_folder

    try:
        threads = use_cores(arguments.threads)
        if arguments.run:
            run_folder.read_config(arguments.run)  # judged before TensorFlow is imported
        else:
            config = load_config(arguments.config, ["data.channels='3'"] + arguments.set)
        import keras
        import tensorflow as tf

        from grdnet_tf.training import building

        tf.keras.utils.set_random_seed(0)  # what is kept has the same weights
        model = building.load_run(arguments.run).model if arguments.run else building.build_model(config)

        device = tf.config.list_logical_devices("GPU") or f"{run_folder.environment()['processor']}, {threads} core(s)"
        print(f"{os.path.basename(arguments.run or arguments.config)}, {model.image_size[0]} x {model.image_size[1]} x "
              f"{model.channels}, TensorFlow {tf.__version__}, Keras {keras.__version__}, {device}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            forms = load(model, arguments.keep or folder, threads, arguments)
            for batch in arguments.batch if forms else ():
                of_batch = {name: form for name, form in forms.items() if getattr(form, "batch", batch) == batch}
                report(of_batch, pictures(model, batch), arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def use_cores(count) -> int:
    """Bind the process to `count` cores (0: all it has), before any library has counted them; returns their number."""
    from grdnet_tf.errors import InputError

    cores = sorted(os.sched_getaffinity(0))
    if not 0 <= count <= len(cores):
        raise InputError(f"--threads {count}: there are {len(cores)} cores")
    os.sched_setaffinity(0, cores[:count] if count else cores)
    return count or len(cores)


def pictures(model, batch):
    """(B, H, W, C) float32 of values k / 255, smooth with fine noise as photographs are."""
    import cv2
    import numpy as np

    height, width = model.image_size
    random = np.random.default_rng(0)
    images = np.empty((batch, height, width, model.channels), np.float32)
    for image in images:
        coarse = random.uniform(40, 215, (16, 16, model.channels)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(image.shape)
        image[:] = np.round(smooth + random.normal(0, 3, image.shape)).clip(0, 255) / 255
    return images


def load(model, folder, threads, arguments):
    """{form: function from images, for DECODE from files, to (score, anomaly_map, is_anomalous) as NumPy arrays}."""
    import tensorflow as tf

    from benchmarks import lines
    from grdnet_tf.errors import ExportStopped, InputError
    from grdnet_tf.serving.folding import inference_half
    from grdnet_tf.serving.signatures import write_saved_model

    saved = os.path.join(folder, "saved_model")
    scores = sorted(float(score) for score in model.predict(pictures(model, max(arguments.batch)), verbose=0)[2])
    threshold = sum(scores[(len(scores) - 1) // 2:len(scores) // 2 + 1]) / (2 - len(scores) % 2)
    if not os.path.exists(saved):
        shutil.rmtree(saved + ".tmp", ignore_errors=True)  # of one that was ended
        write_saved_model(saved + ".tmp", inference_half(model), {"image": {"value": threshold}},
                          batch_sizes=arguments.batch if arguments.keep or "tftrt" in (arguments.only or ()) else ())
        os.rename(saved + ".tmp", saved)
    further, asked = {}, ("onnx", "openvino") if arguments.only is None else arguments.only
    for name in asked:
        load_one = engines if name == "tftrt" else openvino if name == "openvino" else runtime
        try:
            further.update(load_one(name, saved, folder, threads, arguments))
        except (InputError, ExportStopped) as error:
            print(f"{name}: skipped: {error}", flush=True)
            lines.add(arguments.json, form=name, skipped=str(error))
    if arguments.only and not further:
        return {}  # what they were to be compared with is no news
    function = tf.saved_model.load(saved).signatures["serving_default"]

    def signature(images):
        found = function(images=tf.constant(images))
        return [found[name].numpy() for name in OUTPUTS]

    def predict(images):
        found = model.predict(images, batch_size=len(images), verbose=0)
        return found[2], found[1], found[2] > threshold

    forms = {KERAS: predict, "SavedModel signature": signature,
             SESSION: session(saved, "serving_default", "images"),
             DECODE: session(saved, "serve_bytes", "image_bytes")}
    return {**forms, **further}


def session(saved, signature, name):
    """As TensorFlow Serving runs it, on whatever device there is."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        running = tf.compat.v1.Session(graph=graph)
        found = tf.compat.v1.saved_model.load(running, ["serve"], saved).signature_def[signature]
    return running.make_callable([found.outputs[output].name for output in OUTPUTS], [found.inputs[name].name])


def onnx_file(saved, folder):
    """The path of the SavedModel as ONNX, which is written once. InputError where a package is missing."""
    from grdnet_tf.serving.convert import onnx

    onnx.require()
    path = os.path.join(folder, "model.onnx")
    if not os.path.exists(path):
        onnx.write(saved, path, rounding=10)  # of whatever model: speed is what is asked
    return path


def runtime(name, saved, folder, threads, arguments):
    """ONNX Runtime with one provider. InputError where it has none of that name, or runs on the CPU in its place."""
    from importlib.util import find_spec

    from grdnet_tf.errors import InputError

    provider = PROVIDERS[name]
    if find_spec("onnxruntime") is None:
        raise InputError("ONNX Runtime is not installed")
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        raise InputError(f"ONNX Runtime {onnxruntime.__version__} has no {provider} (pip install onnxruntime-gpu)")
    path, options = onnx_file(saved, folder), onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    running = onnxruntime.InferenceSession(path, options, providers=[provider])
    if running.get_providers()[0] != provider:
        raise InputError(f"ONNX Runtime cannot load {provider} here: CUDA, cuDNN or TensorRT is missing")
    label = provider.replace("ExecutionProvider", "")
    return {f"ONNX Runtime ({label})": lambda images: running.run(OUTPUTS, {"images": images})}


def openvino(name, saved, folder, threads, arguments):
    """OpenVINO on the CPU. InputError where it is not installed."""
    from importlib.util import find_spec

    from grdnet_tf.errors import InputError

    if find_spec("openvino") is None:
        raise InputError("not installed (pip install openvino)")
    path = onnx_file(saved, folder)
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads,
                                                           "INFERENCE_PRECISION_HINT": "f32"})

    def infer(images):
        found = compiled([images])
        return [found[name] for name in OUTPUTS]

    return {"OpenVINO (CPU)": infer}


def engines(name, saved, folder, threads, arguments):
    """TF-TRT, an engine a batch size. InputError where TensorFlow or the machine has none; ExportStopped."""
    import tensorflow as tf

    from grdnet_tf.serving.convert import tensorrt

    tensorrt.require()
    found = {}
    for batch in arguments.batch:
        converted = os.path.join(folder, f"tftrt_{batch}")
        print(f"TF-TRT, batch {batch}: {tensorrt.convert(saved, converted, batch)}", flush=True)
        loaded = tf.saved_model.load(converted)

        def infer(images, loaded=loaded):
            given = loaded.signatures["serving_default"](images=tf.constant(images))
            return [given[output].numpy() for output in OUTPUTS]

        infer.batch = batch
        found[f"TF-TRT, batch {batch}"] = infer
    return found


def report(forms, images, arguments):
    """One line a form: median and 99th percentile of a call, its processor time, images/s, ratio to the fastest, how
    far its scores are from Keras', how many decisions are others."""
    import cv2
    import numpy as np

    from benchmarks import lines

    files = [cv2.imencode(".png", np.round(image[..., ::-1] * 255).astype(np.uint8))[1].tobytes() for image in images]
    inputs = {name: files if name == DECODE else images for name in forms}
    reference, apart, others = forms[KERAS](images), {}, {}
    for name, form in forms.items():
        found = form(inputs[name])
        apart[name] = float(np.abs(np.asarray(found[0]) - reference[0]).max())
        others[name] = int((np.asarray(found[2]).astype(bool) != np.asarray(reference[2]).astype(bool)).sum())
        if not apart[name] <= arguments.apart:
            lines.add(arguments.json, form=name, batch=len(images), apart=apart[name], decisions_changed=others[name])
            raise AssertionError(f"{name}: scores differ by {apart[name]:.2g} from those of {KERAS}")
    seconds, busy = {name: [] for name in forms}, {name: [] for name in forms}
    for turn in range(arguments.rounds + 1):
        for name, form in forms.items():
            form(inputs[name])  # the first call after another form finds cold caches
            for _ in range(arguments.calls):
                start, used = time.perf_counter(), time.process_time()
                form(inputs[name])
                if turn:
                    seconds[name].append(time.perf_counter() - start)
                    busy[name].append(time.process_time() - used)
    fastest = min(float(np.median(times)) for times in seconds.values())
    print(f"batch {len(images):<17} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>8} {'images/s':>9} {'ratio':>6} "
          f"{'apart':>8} {'decisions':>9}")
    for name, times in seconds.items():
        median, slow = (float(np.percentile(times, q)) for q in (50, 99))
        print(f"  {name:21} {median * 1e3:8.2f} {slow * 1e3:8.2f} {np.median(busy[name]) * 1e3:8.2f} "
              f"{len(images) / median:9.1f} {median / fastest:6.2f} {apart[name]:8.1e} {others[name]:9d}", flush=True)
        lines.add(arguments.json, form=name, batch=len(images), p50_ms=median * 1e3, p99_ms=slow * 1e3,
                  cpu_ms=float(np.median(busy[name])) * 1e3, images_per_second=len(images) / median, apart=apart[name],
                  decisions_changed=others[name])


if __name__ == "__main__":
    sys.exit(main())
