"""The README.md that lies beside the server's settings, with the exact commands."""

README = """\
# Serving `{model}`

Written by `export.py`. The newest version is {version}. Pictures are seen at {height} x {width} with {channels}
channel(s); a score above {threshold} is anomalous{look}. All commands are for this folder.
{upright}
## Start a server

CPU:

```
docker run --rm -p 8500:8500 -p 8501:8501 -v "$(cd .. && pwd):/models:ro" {image} \\
  --model_config_file=/models/serving/models.config --monitoring_config_file=/models/serving/monitoring.config \\
  --enable_batching=true --batching_parameters_file=/models/serving/batching.config
```

NVIDIA GPU (with the NVIDIA container toolkit):

```
docker run --rm --gpus all -p 8500:8500 -p 8501:8501 -v "$(cd .. && pwd):/models:ro" {image}-gpu \\
  --model_config_file=/models/serving/models.config --monitoring_config_file=/models/serving/monitoring.config \\
  --enable_batching=true --batching_parameters_file=/models/serving/batching.config
```

The same as a service: `docker compose --profile cpu up -d`, or `--profile gpu`.

Without Docker, with `tensorflow_model_server` of TensorFlow {tensorflow} or newer:

```
sed "s#/models/#$(cd .. && pwd)/#" models.config > models.local.config
tensorflow_model_server --port=8500 --rest_api_port=8501 --model_config_file=models.local.config \\
  --monitoring_config_file=monitoring.config --enable_batching=true --batching_parameters_file=batching.config
```

gRPC is on port 8500, REST on port 8501. Neither asks who calls: keep them inside the plant's network.

## Ask it

Is it there, and which signatures has it?

```
curl -s http://localhost:8501/v1/models/{model}
curl -s http://localhost:8501/v1/models/{model}/metadata
```

One picture file, PNG, JPEG or BMP of any size. A file that cannot be decoded gets `valid` 0 and `verdict` 2:

```
printf '{{"signature_name": "serve_bytes_map", "inputs": {{"image_bytes": [{{"b64": "%s"}}]}}}}' \
  "$(base64 -w0 part.png)" | curl -s -d @- http://localhost:8501/v1/models/{model}:predict
```

With the client (`pip install requests grpcio`; `client.py` is one file to copy and to change):

```
python client.py --rest http://localhost:8501 --model {model} part.png
python client.py --grpc localhost:8500 --model {model} --overlay pictures part.png
python client.py --grpc localhost:8500 --model {model} --drift ../{model}/{version}/manifest.json lot7/*.png
```

It prints a line a picture: score, `good`, `look again`, `DEFECT` or `INVALID`. Exit status 1 where one is `INVALID`, 2 after an error.
With `--drift` it compares the scores with those of the good pictures in the manifest, in a rolling window: a JSON line when
they drift, and exit status 4.

| signature | input | output |
|---|---|---|
| `{tensors}` | `images` [N, {height}, {width}, {channels}], 0 to 1 | the decision, `anomaly_map` |
{default}| `serve_uint8` | `images` uint8, 0 to 255 | the same |
| `score` | `images` float32 | the decision |
| `serve_bytes` | `image_bytes`, of mixed sizes | the decision, `anomaly_map`, `valid` |
| `serve_bytes_map` | `image_bytes` | the decision, `valid`, `overlay_bytes` (PNG) |
| `serve_regions` | `image_bytes` | the decision, `valid`, `regions` [N, 16, 6] |
| `serve_reconstruction` | `images` float32 | the decision, `reconstruction` (not of methods without one) |
| `serve_roi` | `images`, `roi` [N, {height}, {width}, 1] | as `serve_bytes`, inside the region |
| `serve_bytes_roi` | `image_bytes`, `roi_bytes` (PNG) | the same |
| {static} | `images` float32, exactly so many | as `{tensors}` |

The decision is three outputs: `score`; `verdict`, 0 good, 1 to look at again, 2 rejected; `is_anomalous`, 1 where that is 2.

A row of `regions` is top, left, bottom, right as shares of the picture, area in pixels of the map, peak; the highest
peak first, 0 where there are no more.

REST sends every output, and a map is long in JSON: ask for `score` or `serve_bytes_map` there, or use gRPC. The static
signatures are for TensorRT; do not call them on a server with batching, which would merge two requests into one.
{engines}
## Another version

Export again: version {following} appears whole or not at all; the server loads it, warms it up, and only then lets go
of version {version}. Requests go on meanwhile. To go back, name the version in `models.config`
(`model_version_policy {{ specific {{ versions: {version} }} }}`); the server reads the file again by itself under
`docker compose`, otherwise start it anew.

## Look after it

`curl -s http://localhost:8501/monitoring/prometheus/metrics` has counts and latencies. `batching.config` says how many
requests are merged and how long one waits. `../{model}/<version>/manifest.json` has the SHA-256 of every file.
"""

UPRIGHT = """
**It takes pictures of upright parts.** It was trained on parts that were turned to lie alike and cut out, and the server does
not turn them: a part as the camera sees it gets a score that means nothing. Send what `grdnet align --like align.json` makes of
a picture, by the align.json of the run; `grdnet predict` turns by itself.
"""

ENGINES = """
`{name}` is a model of its own, with TensorRT engines for the kind of GPU that made them. Where there is another GPU, or
none, take it out of `models.config`: a server that cannot load one of its models may not start.
"""
