"""An export in Ray Data: RayInspector for map_batches. Ray is the extra `ray`; nothing of it is imported here.

    files.map_batches(RayInspector, fn_constructor_args=(pinned(export),), batch_size=BATCH, concurrency=2)

with `files` of read_binary_files(..., include_paths=True). Complete: examples/score_ray.py.
"""
from .batch import BATCH, inspect_files


class RayInspector:
    """A worker's export, for the rows of files that it is given: {"bytes", "path"} -> {"path", output: array}.

    Args: see `batch.inspect_files`; give it what `batch.pinned` says, so that all workers judge alike.
    """

    def __init__(self, export, signature="serve_bytes", batch=BATCH, outputs=None):
        self._inspect = inspect_files(export, signature, batch, outputs)

    def __call__(self, rows: dict) -> dict:
        return {"path": rows["path"], **self._inspect(rows["bytes"])}
