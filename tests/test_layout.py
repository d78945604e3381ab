"""The order of the files: imports go down only, and the source parses on the oldest Python."""
import ast
import configparser
import glob
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("grdnet_tf", os.path.join("grdnet_tf", "serving"), "")
FILES = sorted(path for folder in FOLDERS for path in glob.glob(os.path.join(ROOT, folder, "*.py")))
NAMES = {os.path.basename(path)[:-3] for path in FILES}
FLOORS = {  # a file imports from its own floor or below; what is not named here stands on floor 0
    1: "networks pipeline weights",
    2: "model",
    3: "calibration callbacks comparison evaluation predicting report folding exporting converting",
    4: "data_check runs training train evaluate export",
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names.split()}


def imports_of(path):
    """Names of the project's own files that `path` imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(open(path, encoding="utf-8").read(), path, feature_version=(3, 9))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[-1] for alias in node.names if alias.name.startswith("grdnet_tf.")}
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "grdnet_tf"):
            inner = (node.module or "") if node.level else node.module[len("grdnet_tf."):]
            found |= {alias.name for alias in node.names} if inner in ("", "serving") else {inner.split(".")[-1]}
    return found & NAMES


@pytest.mark.parametrize("path", [path for path in FILES if not path.endswith("__init__.py")], ids=os.path.basename)
def test_imports_go_down_only(path):
    name, imports = os.path.basename(path)[:-3], imports_of(path)
    above = {other for other in imports if FLOOR.get(other, 0) > FLOOR.get(name, 0)}
    assert not above, f"{name} (floor {FLOOR.get(name, 0)}) imports {above} from above; is {name} missing in FLOORS?"
    assert not (name == "model" and "pipeline" in imports), "the batch is the contract between model and pipeline"
    assert FLOOR.get(name, 0) == 4 or "config" not in imports, "below the command line tools: plain values only"


def test_no_two_files_import_each_other():
    graph = {os.path.basename(path)[:-3]: imports_of(path) for path in FILES}
    while graph:
        free = {name for name, others in graph.items() if not others & (set(graph) - {name})}
        assert free, f"imports run in a circle among {sorted(graph)}"
        graph = {name: others for name, others in graph.items() if name not in free}


@pytest.mark.parametrize("folder", [*FOLDERS, "tests", "benchmarks"])
def test_source_parses_on_the_oldest_python(folder):
    for path in glob.glob(os.path.join(ROOT, folder, "*.py")):
        ast.parse(open(path, encoding="utf-8").read(), path, feature_version=(3, 9))


def test_no_two_files_have_one_name():
    names = [os.path.basename(path) for path in FILES if not path.endswith("__init__.py")]
    assert len(names) == len(set(names))  # the floors go by name


def test_setup_and_requirements_list_the_same_packages():
    setup = configparser.ConfigParser()
    setup.read(os.path.join(ROOT, "setup.cfg"), encoding="utf-8")
    lines = open(os.path.join(ROOT, "requirements.txt"), encoding="utf-8").read().splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    extras = setup["options.extras_require"]
    lists = (setup["options"]["install_requires"], extras["onnx"], extras["test"])
    assert [line for text in lists for line in text.split("\n") if line] == required
