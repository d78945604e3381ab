"""What a benchmark measured, a JSON line at a time, so that nothing is lost of one that is ended or crashes."""
import json


def add(path, **row) -> None:
    """Append `row` to the file at `path`; None is nowhere."""
    if path:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
