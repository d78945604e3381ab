"""The files beside the models: what a server and Docker read; a second export leaves the user's changes alone."""
import logging
import os
import re
import subprocess

import pytest
import yaml
from google.protobuf import text_format

from grdnet_tf.errors import InputError
from grdnet_tf.evaluation.thresholds import Limits
from grdnet_tf.serving import client
from grdnet_tf.serving.server_files import Description, write_server_files

DESCRIPTION = Description(version=3, image_size=(96, 128), channels=3, limits=Limits(0.4, 0.4321), batch_sizes=(1, 8),
                          tensorflow="2.15.1")


@pytest.fixture
def served(tmp_path):
    return write_server_files(str(tmp_path / "out"), "vials", DESCRIPTION)


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as stream:
        return stream.read()


def code_blocks(text):
    return re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_files(served):
    assert sorted(os.listdir(served)) == ["README.md", "batching.config", "client.py", "docker-compose.yml",
                                          "models.config", "monitoring.config"]
    assert read(served, "client.py") == read(os.path.dirname(client.__file__), "client.py")


def test_the_readme_says_where_pictures_must_lie_upright(served):
    assert "upright" not in read(served, "README.md")
    write_server_files(os.path.dirname(served), "vials", DESCRIPTION._replace(upright=True))
    assert "It takes pictures of upright parts" in read(served, "README.md")


def test_models_config_as_the_servers_classes_read_it(served):
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2", reason="needs "
                                 "tensorflow-serving-api: pip install --no-deps tensorflow-serving-api")
    write_server_files(os.path.dirname(served), "tiles", DESCRIPTION)
    found = text_format.Parse(read(served, "models.config"), config.ModelServerConfig()).model_config_list.config
    assert [(m.name, m.base_path, m.model_platform) for m in found] == [
        ("vials", "/models/vials", "tensorflow"), ("tiles", "/models/tiles", "tensorflow")]
    assert found[0].model_version_policy.latest.num_versions == 1


def test_compose_and_readme_name_files_that_are_there(served):
    services = yaml.safe_load(read(served, "docker-compose.yml"))["services"]
    assert services["cpu"]["image"] == "tensorflow/serving:2.15.1"
    assert services["gpu"]["image"] == "tensorflow/serving:2.15.1-gpu"
    assert "nvidia" in str(services["gpu"]["deploy"]) and "deploy" not in services["cpu"]
    for service in services.values():  # `..` is mounted as /models
        assert service["volumes"] == ["..:/models:ro"]
        named = [flag.partition("/models/serving/")[2] for flag in service["command"] if "/models/serving/" in flag]
        assert len(named) == 3 and all(os.path.isfile(os.path.join(served, name)) for name in named)
    for name in re.findall(r"config(?:_file|s_file|uration)?=(?:/models/serving/)?([\w.]+\.config)",
                           read(served, "README.md")):
        assert name == "models.local.config" or os.path.isfile(os.path.join(served, name))


def test_readme_commands_are_whole(served):
    """Every command parses in a shell, and what would be posted is the JSON that is meant."""
    readme = read(served, "README.md")
    assert "{" not in re.sub(r"```.*?```|`[^`]*`", "", readme, flags=re.DOTALL)  # no placeholder is left
    blocks = code_blocks(readme)
    assert len(blocks) == 6 and "above 0.4321 is anomalous, one above 0.4 to be looked at again" in readme and "96 x 128" in readme and "version 4" in readme
    for block in blocks:
        assert subprocess.run(["bash", "-n"], input=block, text=True).returncode == 0, block
    post = next(block for block in blocks if "printf" in block)
    with open(os.path.join(served, "part.png"), "wb") as stream:
        stream.write(b"\x89PNG\r\n")
    printed = subprocess.run(["bash", "-c", post.partition("| curl")[0]], cwd=served, capture_output=True, text=True)
    assert yaml.safe_load(printed.stdout) == {"signature_name": "serve_bytes_map",
                                              "inputs": {"image_bytes": [{"b64": "iVBORw0K"}]}}
    local = next(block for block in blocks if block.startswith("sed")).splitlines()[0]
    subprocess.run(["bash", "-c", local], cwd=served, check=True)
    assert f'base_path: "{os.path.dirname(served)}/vials"' in read(served, "models.local.config")


def test_another_export_keeps_what_the_user_changed(served, caplog):
    out = os.path.dirname(served)
    changed = {"batching.config": "max_batch_size { value: 4 }\n", "monitoring.config": "# off\n",
               "docker-compose.yml": "services: {}\n",
               "models.config": read(served, "models.config").replace("latest { num_versions: 1 }",
                                                                      "specific { versions: 3 }")}
    for name, text in changed.items():
        with open(os.path.join(served, name), "w", encoding="utf-8") as stream:
            stream.write(text)
    with caplog.at_level(logging.WARNING):
        write_server_files(out, "vials", DESCRIPTION._replace(version=4))
    assert {name: read(served, name) for name in changed} == changed
    assert "max_batch_size is 4, but a static signature takes 8" in caplog.text
    assert "newest version is 4" in read(served, "README.md")
    write_server_files(out, "vials.2", DESCRIPTION)  # another model, whose name the first one's resembles
    assert read(served, "models.config").count("config {") == 2
    assert "specific { versions: 3 }" in read(served, "models.config")


@pytest.mark.parametrize("name", ["", "serving", "../x", "a b", 'a"b', "-v", ".hidden", "grün"])
def test_names_that_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="model name"):
        write_server_files(str(tmp_path), name, DESCRIPTION)
    assert not os.listdir(tmp_path)


def test_damaged_models_config(served):
    with open(os.path.join(served, "models.config"), "w", encoding="utf-8") as stream:
        stream.write("model_config_list {\n  config {")
    with pytest.raises(InputError, match="models.config: expected model_config_list"):
        write_server_files(os.path.dirname(served), "tiles", DESCRIPTION)


def test_engines_are_models_that_a_server_is_told_of(served):
    out, engines = os.path.dirname(served), ("vials_tftrt_b1", "vials_tftrt_b8")
    for _ in range(2):  # once, however often they are exported
        write_server_files(out, "vials", DESCRIPTION._replace(engines=engines))
        assert re.findall(r'base_path: "/models/(.*)"', read(served, "models.config")) == ["vials", *engines]
        assert all(f"`{name}` is a model of its own" in read(served, "README.md") for name in engines)
    plain = re.sub(r"#.*", "", read(served, "models.config"))
    assert plain.count("{") == plain.count("}")


def test_static_signatures_fit_into_a_batch(tmp_path):
    for sizes, most in (((), 16), ((1, 8), 16), ((1, 64), 64)):
        folder = write_server_files(str(tmp_path / str(most + len(sizes))), "vials",
                                    DESCRIPTION._replace(batch_sizes=sizes))
        assert f"max_batch_size {{ value: {most} }}" in read(folder, "batching.config")
