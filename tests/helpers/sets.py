"""Sets of shards, as bytes and damaged."""
import hashlib
import json
import os

from grdnet_tf.data import shards


def contents(root):
    return {name: open(os.path.join(root, name), "rb").read() for name in sorted(os.listdir(root))}


def flip(path, at):
    with open(path, "r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte[0] ^ 1]))


def reseal(root, change, name=None):
    """Change the index, or the columns of a shard, and every digest so that nothing but the content is wrong."""
    index = json.loads(open(os.path.join(root, "index.json")).read())
    if name:
        path = os.path.join(root, name)
        columns = json.loads(open(path).read())
        change(columns)
        with open(path, "w") as stream:
            json.dump(columns, stream)
        for split in index["splits"].values():
            for entry in split["shards"]:
                if shards.columns_of(entry["file"]) == name:
                    entry["columns_sha256"] = hashlib.sha256(open(path, "rb").read()).hexdigest()
    else:
        change(index)
    del index["sha256"]
    with open(os.path.join(root, "index.json"), "w") as stream:
        json.dump({"sha256": shards.digest_of(index), **index}, stream)
