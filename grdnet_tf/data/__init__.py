"""Which pictures are there, and how do files become batches?

    folder -> records (list, check, split) -> pipeline (decoding, cache, order, augmentation)
           -> {"image" (B, H, W, C) float32 [0, 1], "roi" (B, H, W, 1) {0, 1}, "seed" (B, 2) int32}

Takes a folder in the MVTec layout; gives checked `Record`s without TensorFlow, and `tf.data` of them. What a file
holds is read in `files` and `decoding` alone, so that training, evaluation and the served graph see one picture.
"""
