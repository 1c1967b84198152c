"""That the benchmark of serving measures the server that it started, and ends it."""

import os
import sys

from benchmarks import serving
from mosaic_pipeline.bundle import load_bundle

# Answers as a server does, from a child of the process that is started, which holds 200 MB.
SERVER = """
import http.server, os, sys
if os.fork():
    os.wait()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
held = bytearray(b"x" * 200_000_000)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def test_a_server_is_measured_with_its_children_and_ended_with_them():
    port = serving._free_port()
    with serving._started([sys.executable, "-c", SERVER, str(port)], port, dict(os.environ)) as served:
        assert served.address == f"http://127.0.0.1:{port}"
        assert served.seconds > 0
        assert served.megabytes() > 200
    assert not serving._healthy(served.address)


def test_one_and_many_images_and_volumes_are_asked(finished):
    bundle = load_bundle(finished / "bundles/mosaic-42", "cpu")
    asked = [("retinamnist", 1), ("retinamnist", 64), ("nodulemnist3d", 1), ("nodulemnist3d", 64)]
    assert list(serving._questions(bundle)) == asked
