"""The paper's tables as commands: what is trained, what stands beside the paper's numbers, what is refused."""
import argparse
import csv
import json
import os
import shutil

import pytest
from small_runs import make_run

from benchmarks import paper_numbers, paper_tables
from grdnet_tf.errors import InputError
from grdnet_tf.storage import write_json
from grdnet_tf.training import run_folder

TINY = ("data.image_size=[16,16]", "train.steps_per_epoch=1", "train.batch_size=4", "validation.views=2",
        "data.held_out=0.25", "train.image_every=0", "network.widths=[4,8]", "network.segmenter_widths=[4,8]",
        "network.score_pool=3")
SCALE = paper_tables.Scale(0.02, {  # 10, 35, 100 and 200 epochs become 1, 1, 2 and 4
    "grdnet": (*TINY, "network.stem=0", "network.blocks=1", "network.discriminator_blocks=1", "network.latent=4",
               "network.discriminator_widths=[4,8]"), "draem": TINY}, dict(size=(64, 64), train=8, test_good=4,
                                                                          per_defect=2, distractors=2))


def table(out, number):
    """(rows of the Markdown, the JSON)."""
    with open(os.path.join(out, f"table-{number}.md"), encoding="utf-8") as stream:
        rows = [[cell.strip() for cell in line.strip(" |\n").split(" | ")] for line in stream if line.startswith("| ")]
    with open(os.path.join(out, f"table-{number}.json"), encoding="utf-8") as stream:
        return rows, json.load(stream)


def finished(folder, data, epochs, *settings):
    """A run as if it had been trained: initial weights, a summary."""
    make_run(folder, data, *settings)
    write_json(os.path.join(folder, run_folder.SUMMARY), {"epochs": epochs})


def finished_with_epoch(folder, data):
    """The same with its weights kept after epoch 1."""
    finished(folder, data, 1)
    os.makedirs(os.path.join(folder, "epochs"))
    shutil.copy(run_folder.weights(folder), os.path.join(folder, "epochs", "000001.npz"))
    return folder


def test_finished_runs_are_laid_out_and_not_trained_again(tmp_path, small_demo):
    out = str(tmp_path / "out")
    bench = paper_tables.Bench(None, out, SCALE, False)
    finished(os.path.join(out, "runs", "vials", "grdnet"), paper_tables.vials(bench), 1)
    assert "paper" in paper_tables.make(bench, 6, ())
    rows, content = table(out, 6)
    assert rows[0] == ["image AUROC", "pixel AUROC", "accuracy"] and rows[1] == ["paper", "0.981", "0.996", "0.932"]
    with open(os.path.join(out, "runs", "vials", "grdnet", "evaluation", "report.json"), encoding="utf-8") as stream:
        report = json.load(stream)
    assert content["data"]["here"] == {"image AUROC": report["image_auroc_roi"], "accuracy": report["accuracy_roi"],
                                       "pixel AUROC": report["pixel_auroc_roi"]}
    assert os.path.isfile(os.path.join(out, "table-6", "comparison.html"))


def test_the_generators_losses_stand_beside_the_papers(tmp_path):
    out = str(tmp_path / "out")
    bench = paper_tables.Bench(None, out, SCALE, False)
    names = ("adversarial", "contextual", "encoder", "ssim")
    for offset, kind in ((0.0, "vanilla"), (0.5, "residual")):
        folder = os.path.join(out, "runs", "vials", kind)
        finished(folder, paper_tables.vials(bench), 10)
        with open(os.path.join(folder, "metrics.csv"), "w", newline="", encoding="utf-8") as stream:
            log = csv.writer(stream)
            log.writerow(["epoch", *names, *(f"val_{name}" for name in names)])
            log.writerow([9, *[9] * 8])
            log.writerow([10, *(offset + i / 100 for i in range(8))])
    paper_tables.make(bench, 5, ())
    rows, content = table(out, 5)
    assert rows[2] == ["contextual", "0.0291", "0.01", "0.0375", "0.05", "0.0146", "0.51", "0.0249", "0.55"]
    assert len(content["data"]["vanilla"]) == 2  # the curves of Fig. 6


@pytest.mark.slow
def test_a_table_is_trained_and_the_next_one_goes_on_with_its_runs(tmp_path, small_demo):
    out, root, category = str(tmp_path / "out"), os.path.dirname(small_demo), os.path.basename(small_demo)
    bench = paper_tables.Bench(root, out, SCALE, False)
    paper_tables.make(bench, 1, (category,))
    assert run_folder.read_summary(os.path.join(out, "runs", category, "draem"))["epochs"] == 1
    paper_tables.make(bench, 3, (category,))
    for system in ("draem", "grdnet"):
        folder = os.path.join(out, "runs", category, system)
        assert run_folder.read_summary(folder)["epochs"] == 2
        assert sorted(os.listdir(os.path.join(folder, "epochs"))) == ["000001.npz", "000002.npz"]
    rows, content = table(out, 3)
    assert rows[0] == ["category", "draem, paper", "draem, here", "grdnet, paper", "grdnet, here"]
    assert (rows[1][0], rows[1][1]) == (category, "- (-)") and 0 <= content["data"][category]["grdnet"]["here"][0] <= 100


def test_the_papers_numbers_are_those_of_its_page():
    assert paper_numbers.CURVES[3]["pill"] == {"draem": (93.8, 94.8), "grdnet": (98.2, 95.5)}
    assert paper_numbers.SYSTEMS["cable"]["padim"] == (None, 96.7)
    assert set(paper_numbers.SYSTEMS["pill"]) == set(paper_tables.CONFIGS)


@pytest.mark.parametrize("words, said", [
    (["4", "--data", "nowhere"], "table 4: --data nowhere: none of hazelnut, metal_nut, pill, cable is there"),
    (["1", "--data", "nowhere", "--categories", "screw"], "--categories screw: no folder screw/train in --data")])
def test_what_is_not_there_is_one_line(tmp_path, capsys, words, said):
    out = str(tmp_path / "out")
    assert paper_tables.main([*words, "--out", out]) == 2
    assert said in capsys.readouterr().err and not os.path.exists(out)


def test_table_7_is_of_products_with_a_roi_alone(tmp_path, small_demo):
    """small_demo has one, its copy none: table 7 alone refuses that, "all" goes without it."""
    def listed(table):
        return argparse.Namespace(table=table, data=str(tmp_path), categories=["with", "without"])

    for name in ("with", "without"):
        shutil.copytree(small_demo, tmp_path / name)
    shutil.rmtree(tmp_path / "without" / "roi")
    assert paper_tables.chosen(listed("all"), 7) == ("with",) and paper_tables.chosen(listed("all"), 4) == ("with", "without")
    with pytest.raises(InputError, match="--categories with without: table 7 is about the ROI"):
        paper_tables.chosen(listed("7"), 7)


@pytest.mark.slow
def test_figures_are_those_inside_the_roi_where_there_is_one(tmp_path, small_demo):
    out, category = str(tmp_path / "out"), os.path.basename(small_demo)
    bench = paper_tables.Bench(os.path.dirname(small_demo), out, SCALE, False)
    for system in ("draem", "grdnet"):
        folder = finished_with_epoch(os.path.join(out, "runs", category, system), small_demo)
    paper_tables.make(bench, 1, (category,))
    with open(os.path.join(folder, "evaluation-epoch-1", "report.json"), encoding="utf-8") as stream:
        report = json.load(stream)
    here = table(out, 1)[1]["data"][category]["grdnet"]["here"]
    assert here == [100 * report["image_auroc_roi"], 100 * report["pixel_auroc_roi"]]
    assert here[1] != 100 * report["pixel_auroc"]


def test_a_folder_holds_one_scale(tmp_path):
    out = str(tmp_path / "not" / "there yet")
    paper_tables.check_scale(out, "minutes")
    paper_tables.check_scale(out, "minutes")
    with pytest.raises(ValueError, match="the runs in .* are of --scale minutes"):
        paper_tables.check_scale(out, "hour")
    with open(os.path.join(out, "scale.json"), "w", encoding="utf-8") as stream:
        stream.write("{")
    with pytest.raises(InputError, match="scale.json: damaged"):
        paper_tables.check_scale(out, "hour")


def test_a_run_that_was_cut_off_wants_resume(tmp_path, small_demo):
    out = str(tmp_path)
    make_run(os.path.join(out, "runs", "a"), small_demo)
    with pytest.raises(ValueError, match="a run that was cut off; --resume goes on with it"):
        paper_tables.Bench(None, out, SCALE, False).run("a", "grdnet", small_demo, 200)
