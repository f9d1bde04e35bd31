"""A test cluster's API server, spoken to directly: starting kubectl takes longer than much of what is measured."""

import base64
import concurrent.futures
import http.client
import json
import os
import ssl
import subprocess
import threading
import time

CLUSTER = os.environ["CLUSTER"]
MERGE = "application/merge-patch+json"


class Refused(RuntimeError):
    """What the API server refused, and its code."""

    def __init__(self, code, what):
        super().__init__(what)
        self.code = code


class Cluster:
    """One cluster, brought up if need be with these options of the program that starts clusters."""

    def __init__(self, name, *options, namespace="default"):
        self.name, self.namespace, self.connections = name, namespace, threading.local()
        subprocess.run([CLUSTER, "up", name, *options], check=True)
        view = json.loads(self.kubectl("config", "view", "--raw", "-o", "json"))
        cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
        self.address = cluster["server"].removeprefix("https://")
        self.token = user["token"]
        if "certificate-authority-data" in cluster:
            self.authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        else:
            with open(cluster["certificate-authority"]) as file:
                self.authority = file.read()
        self.context = ssl.create_default_context(cadata=self.authority)

    def kubectl(self, *arguments, stdin=None):
        command = [CLUSTER, "exec", self.name, "--", "kubectl", *arguments]
        done = subprocess.run(command, text=True, input=stdin, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (" ".join(arguments), done.stderr))
        return done.stdout

    def request(self, method, path, body=None, content_type="application/json", timeout=60):
        connection = http.client.HTTPSConnection(self.address, context=self.context, timeout=timeout)
        connection.request(method, path, body and json.dumps(body), self.headers(content_type))
        return connection.getresponse()

    def headers(self, content_type):
        return {"Authorization": "Bearer " + self.token, "Content-Type": content_type}

    def text(self, method, path, body=None, content_type="application/json"):
        """An answer, over a connection that each thread keeps. One that was closed meanwhile is opened anew."""
        for attempt in (1, 2):
            connection = getattr(self.connections, "kept", None)
            if connection is None:
                connection = http.client.HTTPSConnection(self.address, context=self.context, timeout=60)
                self.connections.kept = connection
            try:
                connection.request(method, path, body and json.dumps(body), self.headers(content_type))
                response = connection.getresponse()
                text = response.read()
                break
            except (http.client.HTTPException, OSError):
                connection.close()
                self.connections.kept = None
                if attempt == 2:
                    raise
        if response.status >= 300:
            raise Refused(response.status, "%s %s: %s" % (method, path, text.decode()))
        return text.decode()

    def json(self, method, path, body=None, content_type="application/json"):
        return json.loads(self.text(method, path, body, content_type))

    def merge(self, path, patch):
        return self.json("PATCH", path, patch, MERGE)

    def apply(self, *objects):
        self.kubectl("apply", "-n", self.namespace, "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))

    def each(self, act, things, threads=8):
        """Acts on all of these, several at a time. The first failure is raised, and those that were not begun are left out: of ten
        thousand, each would find out for itself, after its own timeout, that the API server is gone."""
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            try:
                return list(pool.map(act, things))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def until(self, path, met, seconds=120):
        """The object at a path, once it fulfils a condition."""
        end = time.monotonic() + seconds
        while True:
            thing = self.json("GET", path)
            if met(thing):
                return thing
            if time.monotonic() > end:
                raise RuntimeError("%s did not become what it should: %s" % (path, json.dumps(thing)))
            time.sleep(0.1)

    def watch(self, path, learn):
        """Calls learn(object) for each change, in a thread of its own."""
        self.follow(path, lambda event: learn(event["object"]))

    def follow(self, path, learn):
        """Calls learn(event) for each event, in a thread of its own, for as long as this program runs."""
        def follow():
            for line in self.request("GET", path + "?watch=1&timeoutSeconds=3600", timeout=3600):
                learn(json.loads(line))
        threading.Thread(target=follow, daemon=True).start()
