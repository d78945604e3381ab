"""A small model with weights as of training, and what a server is asked about it."""
import numpy as np
from small_runs import randomise

from grdnet_tf.model.grdnet import GRDNet
from grdnet_tf.serving import selftest

SIZE = (32, 48)
TINY = dict(widths=(4, 8), latent=4, stem=0, blocks=1, discriminator_widths=(4, 8), segmenter_widths=(4, 8),
            score_pool=5)
REFUSED = {"score": 1.0, "valid": 0, "is_anomalous": 1}


def random_model(channels=3, **options):
    return randomise(GRDNet(SIZE, channels, **{**TINY, **options}))


def files(shown):
    return np.array([selftest.encode(picture) for picture in shown], object)


def one(served, contents):
    """What serve_bytes says of a single file."""
    found = served.run("serve_bytes", image_bytes=np.array([contents], object))
    assert np.isfinite(found["anomaly_map"]).all() and np.isfinite(found["score"]).all()
    return {name: found[name][0] for name in ("score", "valid", "is_anomalous")}
