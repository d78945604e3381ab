#!/usr/bin/env python
"""Judge new pictures: the same as `grdnet predict`."""
import sys

from grdnet_tf.cli.predict import main

if __name__ == "__main__":
    sys.exit(main())
