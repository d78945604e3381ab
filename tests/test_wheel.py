"""What `pip install .` gives: one command, its configurations and the demo, from any folder, without the checkout."""
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FEW_STEPS = ["train.epochs=1", "train.steps_per_epoch=2", "train.batch_size=2", "train.image_every=0", "validation.views=2",
             "data.image_size=[32, 32]", "data.crop=null", "network.widths=[4, 8]", "network.latent=4",
             "network.discriminator_widths=[4, 8]", "network.segmenter_widths=[4, 8]"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Function of a command's words -> its output; the wheel stands in an environment of its own, this one's packages
    behind it."""
    home = tmp_path_factory.mktemp("installed")
    source = home / "source"  # a copy: building leaves folders behind
    for part in ("grdnet_tf", "configs"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, source)
    venv.create(home / "env", with_pip=True)
    bin_folder = home / "env" / ("Scripts" if os.name == "nt" else "bin")
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*words):
        done = subprocess.run([str(bin_folder / words[0]), *words[1:]], cwd=home, env=environment, capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("python", "-m", "pip", "install", "-q", "--no-deps", str(source))
    site = run("python", "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip()
    Path(site, "behind.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return run


@pytest.mark.slow
def test_the_wheel_works_from_any_folder(installed, tmp_path):
    where = installed("python", "-c", "import grdnet_tf; print(grdnet_tf.__file__)")
    assert ROOT not in Path(where.strip()).resolve().parents
    assert "evaluate" in installed("grdnet", "--help")
    data, run = str(tmp_path / "demo"), tmp_path / "run"
    assert data in installed("grdnet", "demo", data, "--size", "64")
    settings = [word for setting in FEW_STEPS for word in ("--set", setting)]
    installed("grdnet", "train", "--config", "cpu", "--data", data, "--run", str(run), *settings)
    assert (run / "best" / "weights.npz").is_file()
    assert "base" not in (run / "config.yaml").read_text()
    assert "segmenter_difference: true" in (run / "config.yaml").read_text()  # of cpu.yaml
    installed("grdnet", "evaluate", "--run", str(run))
    assert "Score" in (run / "evaluation" / "report.html").read_text(encoding="utf-8")
