"""An S3 store for tests: moto, with every signature checked by botocore, the signer of AWS' own clients.

moto itself checks signatures in headers only, and the runner signs in the query. Takes the arguments and variables of
MinIO that the runner uses: server FOLDER --address HOST:PORT, MINIO_ROOT_USER and MINIO_ROOT_PASSWORD. Objects are kept
in memory; the folder stays empty.
"""

import argparse
import datetime
import hmac
import json
import logging
import os
import threading
from urllib.parse import parse_qsl

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

CREDENTIALS = Credentials(os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"])
REGION = os.environ.get("MINIO_REGION", "us-east-1")


def complaint(method, host, path, query):
    """The code of the S3 error that a request deserves; None when its signature is right."""
    pairs = [pair for pair in query.split("&") if pair]
    values = dict(parse_qsl(query, keep_blank_values=True))
    missing = {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature"} - set(values)
    if missing or values["X-Amz-Algorithm"] != "AWS4-HMAC-SHA256":
        return "AccessDenied"
    key, date, region, service, end = values["X-Amz-Credential"].split("/")
    if key != CREDENTIALS.access_key:
        return "InvalidAccessKeyId"
    if (region, service, end) != (REGION, "s3", "aws4_request") or not values["X-Amz-Date"].startswith(date):
        return "AuthorizationQueryParametersError"
    signed = datetime.datetime.strptime(values["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    age = (datetime.datetime.now(datetime.timezone.utc) - signed).total_seconds()
    if not -900 <= age <= int(values["X-Amz-Expires"]):
        return "AccessDenied"
    unsigned = "&".join(pair for pair in pairs if not pair.startswith("X-Amz-Signature="))
    request = AWSRequest(method, f"http://{host}{path}?{unsigned}", {"host": host})
    request.context["timestamp"] = values["X-Amz-Date"]
    auth = S3SigV4QueryAuth(CREDENTIALS, service, region)
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return None if hmac.compare_digest(expected, values["X-Amz-Signature"]) else "SignatureDoesNotMatch"


class Checked:
    """The store behind a check of signatures."""

    def __init__(self, store):
        self.store = store
        # moto's dictionaries may not change while another thread lists them.
        self.lock = threading.Lock()

    def answer(self, environ, start_response):
        with self.lock:
            return self.store(environ, start_response)

    def __call__(self, environ, start_response):
        path, _, query = environ["RAW_URI"].partition("?")
        if path == "/minio/health/ready":
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]
        if path == "/test/buckets":
            body = json.dumps(list(s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets)).encode()
            start_response("200 OK", [("Content-Length", str(len(body)))])
            return [body]
        if os.environ.get("S3_UNCHECKED"):
            return self.answer(environ, start_response)
        code = complaint(environ["REQUEST_METHOD"], environ["HTTP_HOST"], path, query)
        if code:
            body = f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode()
            start_response("403 Forbidden", [("Content-Length", str(len(body)))])
            return [body]
        return self.answer(environ, start_response)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["server"])
    parser.add_argument("folder")
    parser.add_argument("--address", required=True)
    host, _, port = parser.parse_args().address.rpartition(":")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = Checked(DomainDispatcherApplication(create_backend_app))
    # One request a connection: kept alive, this server takes the next request for a rest of the one before.
    run_simple(host, int(port), store, threaded=True)


main()
