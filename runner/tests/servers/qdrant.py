"""A server that speaks Qdrant's REST API by its OpenAPI description: exact search, everything validated.

Takes the arguments and variables of Qdrant that the runner uses: --config-path with a JSON file, and
QDRANT__SERVICE__API_KEY. For tests only.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import numpy
from jsonschema import Draft202012Validator

SPEC = json.loads((pathlib.Path(__file__).parent / "qdrant-openapi.json").read_text())
NULL = {"type": "null"}


def as_json_schema(schema, strict):
    """OpenAPI 3.0 as JSON Schema: `nullable` becomes a type; with `strict`, keys that are not declared are refused."""
    if isinstance(schema, list):
        return [as_json_schema(item, strict) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = dict(schema)
    nullable = schema.pop("nullable", False)
    for key in ("example", "default", "format", "discriminator", "description"):
        if not isinstance(schema.get(key), dict):
            schema.pop(key, None)
    if nullable and not schema:
        return NULL
    for key in ("items", "additionalProperties", "not"):
        if key in schema:
            schema[key] = as_json_schema(schema[key], strict)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            schema[key] = as_json_schema(schema[key], strict)
    if "properties" in schema:
        schema["properties"] = {name: as_json_schema(value, strict) for name, value in schema["properties"].items()}
        if strict and "additionalProperties" not in schema:
            schema["unevaluatedProperties"] = False
    return {"anyOf": [schema, NULL]} if nullable else schema


COMPONENTS = {
    strict: {"schemas": {name: as_json_schema(value, strict) for name, value in SPEC["components"]["schemas"].items()}}
    for strict in (True, False)
}
VALIDATORS = {}


def complaint(key, schema, strict, value):
    """What is wrong with `value`; None when nothing is."""
    if key not in VALIDATORS:
        root = as_json_schema(schema, strict) | {"components": COMPONENTS[strict]}
        VALIDATORS[key] = Draft202012Validator(root)
    errors = list(VALIDATORS[key].iter_errors(value))
    return f"{'/'.join(map(str, errors[0].absolute_path))}: {errors[0].message[:200]}" if errors else None


ROUTES = []
for template, operations in SPEC["paths"].items():
    pattern = re.compile("^" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template) + "$")
    for method, operation in operations.items():
        ROUTES.append((method.upper(), pattern, template, operation))


class Refused(Exception):
    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Collection:
    def __init__(self, body):
        vectors = body["vectors"]
        self.config = body
        self.size, self.distance = vectors["size"], vectors["distance"]
        self.vectors = {}

    def upsert(self, points):
        for point in points:
            if len(point["vector"]) != self.size:
                raise Refused(400, f"Wrong input: Vector dimension error: expected dim: {self.size}")
        for point in points:
            self.vectors[point["id"]] = numpy.array(point["vector"], dtype=numpy.float32)

    def search(self, query, limit):
        ids = list(self.vectors)
        if not ids:
            return []
        stored, query = numpy.stack([self.vectors[id] for id in ids]), numpy.array(query, dtype=numpy.float32)
        if self.distance == "Cosine":
            scores = stored @ query / (numpy.linalg.norm(stored, axis=1) * numpy.linalg.norm(query))
        elif self.distance == "Dot":
            scores = stored @ query
        else:
            scores = numpy.linalg.norm(stored - query, axis=1)
        order = numpy.argsort(scores if self.distance == "Euclid" else -scores, kind="stable")[:limit]
        return [{"id": ids[place], "version": 0, "score": float(scores[place])} for place in order]


class Server:
    def __init__(self, api_key):
        self.api_key = api_key
        self.collections = {}
        self.lock = threading.Lock()

    def answer(self, template, method, name, query, body):
        found = self.collections.get(name)
        if name is not None and found is None and method != "PUT" and template.startswith("/collections/"):
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        match (method, template):
            case ("GET", "/"):
                return {"title": "qdrant - vector search engine", "version": "0.0.0-test"}
            case ("GET", "/readyz"):
                return "all shards are ready"
            case ("GET", "/collections"):
                return {"collections": [{"name": name} for name in self.collections]}
            case ("PUT", "/collections/{collection_name}"):
                if found:
                    raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
                self.collections[name] = Collection(body)
                return True
            case ("GET", "/collections/{collection_name}"):
                params = {"vectors": found.config["vectors"], "shard_number": 1, "replication_factor": 1,
                          "write_consistency_factor": 1, "on_disk_payload": True}
                hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000} | found.config.get("hnsw_config", {})
                optimizers = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
                              "flush_interval_sec": 5}
                return {"status": "green", "optimizer_status": "ok", "segments_count": 1, "payload_schema": {},
                        "points_count": len(found.vectors), "indexed_vectors_count": 0,
                        "config": {"params": params, "hnsw_config": hnsw, "optimizer_config": optimizers}}
            case ("DELETE", "/collections/{collection_name}"):
                del self.collections[name]
                return True
            case ("PUT", "/collections/{collection_name}/points"):
                if found is None:
                    raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
                found.upsert(body["points"])
                return {"operation_id": 0, "status": "completed" if query.get("wait") == "true" else "acknowledged"}
            case ("POST", "/collections/{collection_name}/points/count"):
                return {"count": len(found.vectors)}
            case ("POST", "/collections/{collection_name}/points/query"):
                if len(body["query"]) != found.size:
                    raise Refused(400, f"Wrong input: Vector dimension error: expected dim: {found.size}")
                return {"points": found.search(body["query"], body.get("limit", 10))}
        raise Refused(501, f"{method} {template} is not part of this test server")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, answer = 200, self.checked(raw)
        except Refused as refused:
            status = refused.status
            answer = {"status": {"error": str(refused)}, "time": 0.0}
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any

    def checked(self, raw):
        url = urlsplit(self.path)
        routes = [(route, match) for route in ROUTES if route[0] == self.command and (match := route[1].match(url.path))]
        if not routes:
            raise Refused(404, f"{self.command} {url.path} is not in the API")
        (method, _, template, operation), match = routes[0]
        server = self.server.qdrant
        if server.api_key and template not in ("/", "/healthz", "/readyz", "/livez"):
            if self.headers.get("api-key") != server.api_key:
                raise Refused(401, "Must provide an API key or an Authorization bearer token")
        known = {p["name"]: p["schema"] for p in operation.get("parameters", []) if p["in"] == "query"}
        query = dict(parse_qsl(url.query))
        for name, value in query.items():
            typed = {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
            if name not in known or complaint(("query", template, method, name), known[name], True, typed):
                raise Refused(400, f"the API has no query parameter {name}={value}")
        body, wanted = None, operation.get("requestBody")
        if wanted:
            try:
                body = json.loads(raw)
            except ValueError as error:
                raise Refused(400, f"Format error in JSON body: {error}") from error
            schema = wanted["content"]["application/json"]["schema"]
            if wrong := complaint(("request", template, method), schema, True, body):
                raise Refused(400, f"Format error in JSON body: {wrong}")
        elif raw:
            raise Refused(400, "this request has no body in the API")
        name = match.groupdict().get("collection_name")
        with server.lock:
            result = server.answer(template, method, name, query, body)
        content = operation["responses"].get("200", {}).get("content", {})
        if "application/json" not in content:
            return result
        answer = result if template == "/" else {"result": result, "status": "ok", "time": 0.0}
        if wrong := complaint(("answer", template, method), content["application/json"]["schema"], False, answer):
            raise Refused(500, f"this test server breaks the API: {wrong}")
        return answer

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config-path", required=True)
    parser.add_argument("--disable-telemetry", action="store_true")
    config = json.loads(pathlib.Path(parser.parse_args().config_path).read_text())
    service = config["service"]
    if service["grpc_port"] is not None:
        sys.exit("this test server has no gRPC")
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer((service["host"], service["http_port"]), Handler)
    server.qdrant = Server(os.environ.get("QDRANT__SERVICE__API_KEY"))
    server.serve_forever()


main()
