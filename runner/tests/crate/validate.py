"""Validates an RO-Crate folder by rocrate-validator, without network: crate.py FOLDER. Exit code 1 when it is not valid.

The JSON-LD context of RO-Crate 1.1 is taken from the package `rocrate`, in place of its address.
"""

import email
import importlib.util
import io
import pathlib
import sys
import urllib.request
import urllib.response

import requests
import urllib3
from rocrate_validator import models, services

ADDRESS = "https://w3id.org/ro/crate/1.1/context"
PACKAGE = pathlib.Path(importlib.util.find_spec("rocrate").origin).parent
CONTEXT = (PACKAGE / "data/ro-crate.jsonld").read_bytes()


class Known(urllib.request.HTTPSHandler):
    """Answers for the context's address, and lets everything else go its way."""

    def https_open(self, request):
        if request.full_url != ADDRESS:
            return super().https_open(request)
        headers = email.message_from_string("Content-Type: application/ld+json\n\n")
        answer = urllib.response.addinfourl(io.BytesIO(CONTEXT), headers, ADDRESS, 200)
        answer.msg = "OK"
        return answer


send = requests.adapters.HTTPAdapter.send


def known_or_sent(self, request, **kwargs):
    """The same for the other library that fetches."""
    if request.url != ADDRESS:
        return send(self, request, **kwargs)
    answer = requests.Response()
    answer.status_code, answer.reason, answer.url, answer.request = 200, "OK", ADDRESS, request
    answer.headers["Content-Type"] = "application/ld+json"
    answer.raw = urllib3.HTTPResponse(io.BytesIO(CONTEXT), status=200, preload_content=False)
    return answer


requests.adapters.HTTPAdapter.send = known_or_sent
urllib.request.install_opener(urllib.request.build_opener(Known))
settings = services.ValidationSettings(
    rocrate_uri=sys.argv[1],
    profile_identifier="ro-crate-1.1",
    requirement_severity=models.Severity.REQUIRED,
)
result = services.validate(settings)
for issue in result.get_issues():
    print(f"{issue.severity.name}: {issue.message}")
checked = len(result.executed_checks)
print(f"{checked} checks")
sys.exit(1 if result.has_issues() or checked < 10 else 0)
