#!/usr/bin/env python
"""Turn a trained run into a SavedModel for TensorFlow Serving: the same as `grdnet export`."""
import sys

from grdnet_tf.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
