"""`python -m grdnet_tf SUBCOMMAND ...`, where the command `grdnet` is not on the path."""
import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
