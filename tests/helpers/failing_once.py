"""What fails once on a worker of an engine, in the middle of its work; a file that is there then says that it has."""
import os
import signal

from grdnet_tf.serving.on_ray import RayInspector


def first_time(marker):
    """Whether it is: true once for each marker, whatever becomes of the process."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class KilledOnce(RayInspector):
    """Its process is killed when it has judged a batch, before it could give the rows away."""

    def __init__(self, export, marker):
        super().__init__(export)
        self._marker = marker

    def __call__(self, rows):
        found = super().__call__(rows)
        if first_time(self._marker):
            os.kill(os.getpid(), signal.SIGKILL)
        return found
