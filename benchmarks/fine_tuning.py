"""Do good pictures that were false alarms stop firing after two minutes of `train --from`, and what does it cost?

    python benchmarks/fine_tuning.py --run RUN --data DIR --out OUT [--unseen DIR] [--count 20] [--repeat 40]

RUN was trained on DIR. The good pictures that it never saw, of DIR/test/good and of --unseen, are split at random. Of
the first half the `--count` of the highest score are the false alarms: the threshold lies just below the last of them.
The second half is judged, with all defects of DIR/test. The false alarms are copied to OUT/new and learnt beside RUN's
own pictures:

    grdnet train --from RUN --add-good OUT/new --run OUT/run --epochs 2 --set train.steps_per_epoch=STEPS \
        --set train.learning_rate=RATE --set data.add_repeat=REPEAT

Told before and after: how many of them fire at the threshold, and at the one that misses as many defects as before;
and, of those that are judged, the image AUROC, the good ones that fire and the defects missed. One line of JSON.
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
        name = os.path.basename(os.path.dirname(os.path.dirname(record.image))) + "-" + os.path.basename(record.image)
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
    parser.add_argument("--unseen", help="data folder whose good pictures RUN never saw")
    parser.add_argument("--repeat", type=int, default=40, help="data.add_repeat")
    parser.add_argument("--steps", type=int, default=250, help="of each of two epochs")
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)

    import numpy as np
    from sklearn.metrics import roc_auc_score

    from grdnet_tf.cli import train
    from grdnet_tf.data.records import list_mvtec

    tested = list_mvtec(arguments.data, "test")
    good = [record for record in tested if not record.label]
    good += list_mvtec(arguments.unseen, "train") if arguments.unseen else []
    random.Random(arguments.seed).shuffle(good)
    asked = good[:len(good) // 2]
    before = scores(arguments.run, asked)
    order = np.argsort(-before)
    alarms = [asked[i] for i in order[:arguments.count]]
    threshold = float(before[order[arguments.count - 1:arguments.count + 1]].mean())
    others = good[len(good) // 2:] + [record for record in tested if record.label]
    truth = np.array([record.label for record in others])

    new, child = os.path.join(arguments.out, "new"), os.path.join(arguments.out, "run")
    copy_of(alarms, arguments.data, new)
    clock, processor = time.monotonic(), time.process_time()
    status = train.main(["--from", arguments.run, "--add-good", new, "--run", child, "--epochs", "2", "--seed",
                         str(arguments.seed), "--set", f"train.steps_per_epoch={arguments.steps}", "--set",
                         f"train.learning_rate={arguments.rate}", "--set",
                         f"data.add_repeat={arguments.repeat}"])
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
