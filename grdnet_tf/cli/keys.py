"""docs/configuration.md, printed from the lines that check the values.

    python -m grdnet_tf.cli.keys > docs/configuration.md
"""
import inspect

from ..config import SECTIONS, Config, plain
from ..kinds import expected


def reference() -> str:
    """Every option of every section, as Markdown."""
    lines = ["# Configuration", "",
             "Printed by `python -m grdnet_tf.cli.keys` from the lines that check the values. A YAML file has these",
             "sections; `--set section.key=value` changes one key; the library takes the options as arguments:",
             "`GRDNet(latent=64)`, `compile(objective=Loss(ssim=2), noise=Noise(opacity=(0.5, 1)))`. A file may begin with",
             "`base: FILE`, relative to itself, or `base: cpu` for a shipped one: what it does not say is as there."]
    lines += ["", "`method`, beside the sections: " + expected(Config, "method") + " (default `grdnet`). `grdnet train --set",
              "method=padim` changes it too. What goes with which: docs/baselines.md."]
    for name, section in SECTIONS.items():
        lines += ["", f"## {name}", "", inspect.getdoc(section).splitlines()[0], "",
                  "| key | takes | default | what it does |", "|---|---|---|---|"]
        for key, field in section.model_fields.items():
            cells = (f"`{key}`", expected(section, key), f"`{plain(field.default)}`", field.description)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
