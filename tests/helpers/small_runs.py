"""Run folders without training: a configuration of tiny networks, and weights as training could leave them."""
import json
import os

import numpy as np
import tensorflow as tf

from grdnet_tf import config as configuration
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.storage import write_arrays
from grdnet_tf.training import building, run_folder

SETTINGS = ("data.image_size=[64, 64]", "data.channels='3'", "data.held_out=0.25", "network.widths=[4, 8]",
            "network.latent=4", "network.stem=0", "network.blocks=1", "network.discriminator_widths=[4, 8]",
            "network.segmenter_widths=[4, 8]", "network.score_pool=5", "loss.adversarial=0", "loss.encoder=0")


def make_run(folder, data, *settings):
    """A run folder as train.py leaves it, with the initial weights of one seed."""
    config = configuration.load_config(None, [*SETTINGS, *settings, f"data.root={json.dumps(str(data))}"])
    run_folder.create_run(str(folder), config)
    tf.keras.utils.set_random_seed(3)
    write_arrays(os.path.join(folder, run_folder.BEST), network_arrays(building.build_model(config)), {})
    return str(folder)


def randomise(model):
    """Weights and moments as training could leave them: none at the value it starts from."""
    rng = np.random.default_rng(4)
    for weight in model.weights:
        shape = tuple(weight.shape)
        if "variance" in weight.name:
            weight.assign(rng.uniform(0.3, 3.0, shape))
        elif len(shape) > 1:
            weight.assign(rng.standard_normal(shape) * np.sqrt(1.6 / np.prod(shape[:-1])))
        else:
            weight.assign(weight.numpy() + rng.normal(0, 0.3, shape))
    return model
