#!/usr/bin/env python
"""Train GRD-Net on a folder of defect-free pictures: the same as `grdnet train`."""
import sys

from grdnet_tf.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
