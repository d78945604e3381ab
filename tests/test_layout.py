"""The house: which room may import which, what the README says of it, and that the source parses on the oldest Python."""
import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "grdnet_tf").rglob("*.py"))
GROUND = "errors compat kinds options ops storage locking console config".split()
FLOORS = {**dict.fromkeys(GROUND, 0),
          "demo": 1, "defects": 1, "data": 1, "model": 2, "baselines": 3, "training": 4, "evaluation": 4, "report": 5,
          "serving": 6, "inspection": 7, "cli": 8, "__main__": 9}


def room(path):
    """The folder of the package that a file lies in, or the file's own name on the ground floor."""
    return path.relative_to(ROOT / "grdnet_tf").parts[0].replace(".py", "")


def imported(path):
    """[(line, "folder.file" of the package)] of everything that `path` imports of it, at the top or inside functions."""
    package, found = path.relative_to(ROOT).parent.parts, []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))):
        if isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{name}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
    return [(line, name.split(".", 1)[1]) for line, name in found if name.startswith("grdnet_tf.")]


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != ROOT / "grdnet_tf" or room(path) in FLOORS],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    ours = room(path)
    for line, name in imported(path):
        theirs = name.split(".")[0]
        if theirs != ours and theirs in FLOORS:  # two folders of one floor do not know each other
            assert FLOORS[theirs] < FLOORS[ours] or FLOORS[ours] == 0, f"{path}:{line} imports {name}"
        assert (ours, theirs) != ("model", "data"), f"{path}:{line}: the batch is the contract between the two"
        if (ours, theirs) == ("serving", "training"):
            assert name.startswith("training.run_folder"), f"{path}:{line}: serving reads run folders only"


def test_no_two_files_import_each_other():
    graph = {}
    for path in FILES:
        name = ".".join(path.relative_to(ROOT / "grdnet_tf").with_suffix("").parts)
        graph[name] = {name for _, name in imported(path)} - {name}
    graph = {name: {other for other in graph for wanted in others if wanted == other or wanted.startswith(other + ".")}
             for name, others in graph.items()}
    while graph:
        free = {name for name, others in graph.items() if not others & (set(graph) - {name})}
        assert free, f"imports run in a circle among {sorted(graph)}"
        graph = {name: others for name, others in graph.items() if name not in free}


@pytest.mark.parametrize("modules", [
    ["grdnet_tf", "grdnet_tf.config", "grdnet_tf.cli.main", "grdnet_tf.cli.train", "grdnet_tf.cli.evaluate",
     "grdnet_tf.cli.export", "grdnet_tf.cli.check", "grdnet_tf.cli.demo", "grdnet_tf.cli.roi", "grdnet_tf.cli.predict", "grdnet_tf.cli.calibrate",
     "grdnet_tf.inspection.sources", "grdnet_tf.inspection.folder", "grdnet_tf.inspection.watching",
     "grdnet_tf.inspection.drift", "grdnet_tf.serving.batch", "grdnet_tf.serving.on_ray"],
    [f"grdnet_tf.{room(path)}.{path.stem}" for path in FILES if room(path) in ("report", "demo")],
    ["grdnet_tf.data.records", "grdnet_tf.data.check", "grdnet_tf.data.selection", "grdnet_tf.data.orientation",
     "grdnet_tf.training.prepare", "grdnet_tf.training.run_folder"],
    [".".join(path.relative_to(ROOT).parts[:-1]) for path in FILES if path.name == "__init__.py"]],
    ids=["commands", "report and demo", "before training", "folders"])
def test_no_tensorflow_where_none_is_needed(modules):
    code = f"import sys, importlib\nfor m in {modules}: importlib.import_module(m)\nsys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_folder_says_what_it_answers():
    for path in FILES:
        if path.name == "__init__.py" and path.parent != ROOT / "grdnet_tf":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree).splitlines()[0].endswith("?") and len(tree.body) == 1, path


def test_files_are_short():
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in
            [*FILES, *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tests").rglob("*.py")]}
    assert not {name: lines for name, lines in long.items() if lines > 300 and not name.endswith("serving/client.py")}


def test_source_parses_on_the_oldest_python():
    for path in [*FILES, *ROOT.glob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))


def test_the_readme_prints_the_tree_as_it_is_on_the_disk():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"```\n(grdnet_tf/\n.*?)```", text, re.S).group(1)
    printed, folder = set(), []
    for line in tree.splitlines()[1:]:
        indent, name = re.match(r"( *)(\S+)", line).groups()
        folder = folder[:len(indent) // 2 - 1]
        if name.endswith("/"):
            folder.append(name[:-1])
        else:
            printed.add("/".join([*folder, name]))
        assert re.search(r"\S+ {2,}\S", line), f"no comment: {line}"
    there = {str(path.relative_to(ROOT / "grdnet_tf")).replace("\\", "/") for path in
             (ROOT / "grdnet_tf").rglob("*") if path.is_file() and path.suffix != ".pyc" and path.name != "__init__.py"}
    assert printed == there


def test_the_readme_says_where_ten_things_are():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+? \| `grdnet_tf/(\S+?)` `(\S+?)` \|", text, re.M)
    assert len(rows) == 10
    for file, name in rows:
        assert re.search(rf"^\s*(def|class) {name}\b|^{name} =", (ROOT / "grdnet_tf" / file).read_text(), re.M), name


def test_the_reference_of_the_options_is_printed_from_them():
    from grdnet_tf.cli.keys import reference
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == reference()


def test_the_reference_of_the_commands_is_printed_from_their_parsers():
    from grdnet_tf.cli.flags import reference
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == reference()


def test_setup_lists_every_folder_and_the_packages_of_the_requirements():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in FILES} | {"grdnet_tf.configs"}
    assert set(setup["options"]["packages"].split()) == folders
    extras = setup["options.extras_require"]

    def required(name):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    def listed(*texts):
        return [line for text in texts for line in text.split("\n") if line and not line.startswith("#")]

    assert listed(setup["options"]["install_requires"], *(extras[name] for name in ("onnx", "features", "test"))) \
        == required("requirements.txt")
    assert list(dict.fromkeys(listed(*(extras[name] for name in ("beam", "ray", "spark", "openvino"))))) \
        == required("requirements-engines.txt")
