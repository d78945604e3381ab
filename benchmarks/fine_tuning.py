"""Do good pictures that were false alarms stop firing after two minutes of `grdnet train --from`, and what does it cost?

    python benchmarks/fine_tuning.py --run RUN --data DIR --out OUT [--count 20] [--halves] [--steps 250]

RUN was trained on DIR. Of DIR/test/good the `--count` pictures of the highest score are the false alarms: the threshold
lies just below the last of them. (--halves: of one half of test/good, so that the other half, which is judged, was not
looked at.) They are copied to OUT/new and learnt beside the run's own pictures:

    grdnet train --from RUN --add-good OUT/new --run OUT/run --epochs 2 --set train.steps_per_epoch=STEPS ...

Judged before and after: how many of them fire at the threshold's number, and at the threshold that misses as many defects
as before; and, of all others (the rest of test/good, what RUN held out, all defects), the image AUROC and the defects
missed. One line of JSON.
"""
import argparse
import json
import os
import random
import shutil
import sys
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def scores(run, records):
    """(N,) scores of the run's best weights, inside the ROI where there is one."""
    import numpy as np

    from grdnet_tf.evaluation.predict import Predictor
    from grdnet_tf.training.building import load_run

    config, model = load_run(run)
    predictor = Predictor(model, white=config.data.white)
    return np.array([seen.score_roi for seen in predictor.scan(records)])


def copy_of(records, data, folder):
    """The pictures in a folder of their own, with their ROIs."""
    for record in records:
        name = record.defect + "-" + os.path.basename(record.image)
        for source, target in ((record.image, "train/good"), (record.roi, "roi/train/good")):
            if source is not None:
                path = os.path.join(folder, target, os.path.splitext(name)[0] + os.path.splitext(source)[1])
                os.makedirs(os.path.dirname(path), exist_ok=True)
                shutil.copyfile(source, path)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "data", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--halves", action="store_true")
    parser.add_argument("--steps", type=int, default=250, help="of each of two epochs")
    parser.add_argument("--rate", type=float, default=0.0005)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)

    import numpy as np
    from sklearn.metrics import roc_auc_score

    from grdnet_tf.cli import train
    from grdnet_tf.data.records import list_mvtec
    from grdnet_tf.training import good_pictures, run_folder

    tested = list_mvtec(arguments.data, "test")
    good = [record for record in tested if not record.label]
    random.Random(arguments.seed).shuffle(good)
    asked = good[:len(good) // 2] if arguments.halves else good
    before = scores(arguments.run, asked)
    order = np.argsort(-before)
    alarms = [asked[i] for i in order[:arguments.count]]
    threshold = float(before[order[arguments.count - 1:arguments.count + 1]].mean())
    if arguments.halves:
        others = good[len(good) // 2:]
    else:
        held_out = good_pictures.find(arguments.run, run_folder.read_config(arguments.run)).held_out
        others = [record for record in good if record not in alarms] + held_out
    others = others + [record for record in tested if record.label]
    truth = np.array([record.label for record in others])

    new, child = os.path.join(arguments.out, "new"), os.path.join(arguments.out, "run")
    copy_of(alarms, arguments.data, new)
    clock, processor = time.monotonic(), time.process_time()
    status = train.main(["--from", arguments.run, "--add-good", new, "--run", child, "--epochs", "2", "--seed",
                         str(arguments.seed), "--set", f"train.steps_per_epoch={arguments.steps}", "--set",
                         f"train.learning_rate={arguments.rate}"])
    if status:
        return status
    found = {"clock_s": round(time.monotonic() - clock), "processor_s": round(time.process_time() - processor),
             "threshold": threshold, "alarms": len(alarms), "others_good": int((truth == 0).sum()),
             "others_defective": int(truth.sum())}
    missed = None
    for name, run in (("before", arguments.run), ("after", child)):
        ours, theirs = scores(run, alarms), scores(run, others)
        if missed is None:
            missed = int((theirs[truth == 1] <= threshold).sum())
        fair = np.sort(theirs[truth == 1])[missed - 1] if missed else 0.0  # misses as many as before
        found[name] = {"fire": int((ours > threshold).sum()), "fire_at_equal_misses": int((ours > fair).sum()),
                       "auroc_of_others": round(float(roc_auc_score(truth, theirs)), 4),
                       "good_others_fire": int((theirs[truth == 0] > threshold).sum()),
                       "good_others_fire_at_equal_misses": int((theirs[truth == 0] > fair).sum()),
                       "missed": int((theirs[truth == 1] <= threshold).sum())}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
