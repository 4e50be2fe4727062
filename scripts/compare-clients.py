"""The peers of compare-chroma.sh and compare-s3.sh: a tight loop over the official Python client.

  compare-clients.py chroma PORT SECONDS                uploads and searches a second
  compare-clients.py s3 PORT SECONDS BYTES              PUTs and GETs a second; keys from AWS' variables
  compare-clients.py ratio                              ratio of paired figures on standard input, with its interval
"""

import math
import statistics
import sys
import time
import uuid


def rate(seconds, act):
    act(0)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        count += 1
        act(count)
    return count / (time.perf_counter() - begin)


def chroma(port, seconds):
    import chromadb
    import numpy

    client = chromadb.HttpClient("127.0.0.1", port, settings=chromadb.Settings(anonymized_telemetry=False))
    name = f"peer-{uuid.uuid4().hex[:8]}"
    collection = client.create_collection(name, embedding_function=None, metadata={"hnsw:space": "cosine"})
    draw = numpy.random.default_rng(1)
    stored = draw.uniform(-1, 1, (2000, 128)).astype("float32")
    for first in range(0, 2000, 100):
        ids = [str(id) for id in range(first, first + 100)]
        collection.add(ids=ids, embeddings=stored[first : first + 100])
    queries = draw.uniform(-1, 1, (1000, 128)).astype("float32")
    found = rate(seconds, lambda turn: collection.query([queries[turn % 1000]], n_results=10, include=["distances"]))
    client.delete_collection(name)
    print(found)


def s3(port, seconds, size):
    import os

    import boto3
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", config=config)
    bucket, body = f"peer-{uuid.uuid4().hex[:8]}", os.urandom(size)
    client.create_bucket(Bucket=bucket)
    puts = rate(seconds, lambda turn: client.put_object(Bucket=bucket, Key=str(turn % 64), Body=body))

    def get(turn):
        assert client.get_object(Bucket=bucket, Key=str(turn % 16))["Body"].read() == body

    gets = rate(seconds, get)
    for entry in client.list_objects_v2(Bucket=bucket).get("Contents", []):
        client.delete_object(Bucket=bucket, Key=entry["Key"])
    client.delete_bucket(Bucket=bucket)
    print(puts, gets)


def ratio():
    """Lines of `theirs ours`; the geometric mean of ours/theirs and Student's 95 % interval of its logarithm."""
    pairs = [tuple(map(float, line.split())) for line in sys.stdin]
    logs = [math.log(ours / theirs) for theirs, ours in pairs]
    mean = statistics.fmean(logs)
    quantiles = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
    n = len(logs)
    half = quantiles[min(n - 2, 9)] * statistics.stdev(logs) / math.sqrt(n) if n > 1 else math.nan
    theirs, ours = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    print(f"{theirs:12.1f} {ours:12.1f} {math.exp(mean):7.2f}  [{math.exp(mean - half):.2f}, {math.exp(mean + half):.2f}]")


if sys.argv[1] == "ratio":
    ratio()
else:
    {"chroma": chroma, "s3": s3}[sys.argv[1]](*map(int, sys.argv[2:]))
