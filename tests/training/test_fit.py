"""What `fit` is given."""
import tensorflow as tf

from grdnet_tf.training import fit


def test_the_cached_validation_set_is_read_to_its_end_once():
    """A pass left half way decides by chance what the cache keeps: here nothing may be read a second time."""
    read = []

    def pictures():
        for number in range(5):
            read.append(number)
            yield number

    cached = tf.data.Dataset.from_generator(pictures, output_signature=tf.TensorSpec((), tf.int32)).cache()
    assert fit.first_batch(cached) == 0
    assert [int(number) for number in cached] == [0, 1, 2, 3, 4] and read == [0, 1, 2, 3, 4]
