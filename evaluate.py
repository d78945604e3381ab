#!/usr/bin/env python
"""Measure a trained run on labelled pictures: the same as `grdnet evaluate`."""
import sys

from grdnet_tf.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
