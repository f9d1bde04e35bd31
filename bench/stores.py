"""Where the repositories of a benchmark are: in a folder, or in a real S3, beside it or far away."""

import contextlib
import json
import os
import subprocess
import time

from common import tmpfs
from links import Link
from syncs import QUIET, free_port, wait_for_port

ROUND_TRIP = 0.020
# Bytes a second, as of a good uplink of a data centre: 1 Gbit/s.
RATE = 125e6

ID, SECRET = "DOPPELBENCHACCESSKEY", "of-the-bench-and-of-nobody-else-in-the-world"


@contextlib.contextmanager
def folder(work):
    """Yields what tells the repository that is to be at a place, and its keys."""
    del work
    yield lambda place: (os.path.join(place, "repository"), {})


@contextlib.contextmanager
def near_s3(work):
    """A SeaweedFS over loopback, whose content is in memory."""
    with tmpfs(os.path.join(work, "seaweed")) as stage, seaweed(stage) as port:
        yield lambda place: bucket(port, place)


@contextlib.contextmanager
def far_s3(work):
    """The same behind a link."""
    with tmpfs(os.path.join(work, "seaweed")) as stage, seaweed(stage) as port, Link(ROUND_TRIP / 2, RATE) as link:
        front = link.to(port)
        yield lambda place: bucket(front, place)


STORES = {"folder": folder, "S3": near_s3, "S3 at 20 ms": far_s3}


def bucket(port, place):
    keys = {"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    return f"s3:http://127.0.0.1:{port}/{os.path.basename(place)}-{time.time_ns()}", keys


@contextlib.contextmanager
def seaweed(stage):
    """Its port. `tests/peers` has unpacked the program."""
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    program = os.path.join(os.environ.get("DOPPEL_PEERS", os.path.join(cache, "doppel", "peers")), "bin", "weed")
    credentials = [{"accessKey": ID, "secretKey": SECRET}]
    identity = {"name": "bench", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    with open(os.path.join(stage, "s3.json"), "w") as file:
        json.dump({"identities": [identity]}, file)
    port = free_port()
    arguments = ["server", "-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.config=s3.json", "-volume.max=100"]
    arguments += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=1024", f"-s3.port={port}"]
    others = ["master.port", "volume.port", "filer.port", "master.port.grpc", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc"]
    arguments += [f"-{other}={free_port()}" for other in others]
    server = subprocess.Popen([program, *arguments], cwd=stage, stdin=subprocess.DEVNULL, **QUIET)
    try:
        wait_for_port(port)
        # It listens before it knows its volumes.
        time.sleep(10)
        yield port
    finally:
        server.kill()
        server.wait()
