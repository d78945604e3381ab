"""Which networks are there, which losses, and what happens in a step?

    {"image", "roi", "seed"} or {..., "noisy", "mask"} -> grdnet.GRDNet.train_step -> the loss terms
    images (B, H, W, C) [0, 1], roi                    -> GRDNet(...)               -> Detection

Takes batches, `options.Network` and `options.Loss`; gives a Keras model. A batch is the contract with `data`, which is
not imported here.
"""
