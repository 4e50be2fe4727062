"""The peers of compare-chroma.sh and compare-s3.sh: a tight loop over the official Python client.

  compare-clients.py chroma PORT SECONDS                searches a second
  compare-clients.py s3 PORT SECONDS put|get BYTES      PUTs or GETs a second; keys from AWS' variables
"""

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


def s3(port, seconds, operation, size):
    import os

    import boto3
    from botocore.config import Config

    size = int(size)
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", config=config)
    bucket, body = f"peer-{uuid.uuid4().hex[:8]}", os.urandom(size)
    client.create_bucket(Bucket=bucket)

    def put(turn):
        client.put_object(Bucket=bucket, Key=str(turn % 64), Body=body)

    def get(turn):
        assert client.get_object(Bucket=bucket, Key=str(turn % 16))["Body"].read() == body

    for key in range(16):
        put(key)
    print(rate(seconds, {"put": put, "get": get}[operation]))
    for entry in client.list_objects_v2(Bucket=bucket).get("Contents", []):
        client.delete_object(Bucket=bucket, Key=entry["Key"])
    client.delete_bucket(Bucket=bucket)


port, seconds = int(sys.argv[2]), float(sys.argv[3])
{"chroma": chroma, "s3": s3}[sys.argv[1]](port, seconds, *sys.argv[4:])
