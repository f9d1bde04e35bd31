"""What a cluster's controllers do for the operator, where none of them runs: pods of Jobs end, snapshots get ready, claims get
their volumes, and what was deleted goes. As little as the operator waits for, and at once: what is measured is the operator.
"""

import queue
import threading

from kube import Refused

COMPLETE = '{"verdict":{"result":"complete"},"tally":{},"elapsedMs":5}'
ENDED = "2026-11-23T10:00:01Z"
JOBS, PODS = "/apis/batch/v1", "/api/v1"
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1"


def path(api, resource, thing):
    metadata = thing["metadata"]
    return "%s/namespaces/%s/%s/%s" % (api, metadata["namespace"], resource, metadata["name"])


class Players:
    """Follows Jobs, snapshots, claims and volumes, and acts on each change, several at a time."""

    THREADS = 6

    def __init__(self, cluster):
        self.cluster, self.work, self.seen, self.lock = cluster, queue.Queue(), set(), threading.Lock()
        for resource, act in [(JOBS + "/jobs", self.job), (SNAPSHOTS + "/volumesnapshots", self.snapshot),
                              (PODS + "/persistentvolumeclaims", self.claim), (PODS + "/persistentvolumes", self.volume)]:
            cluster.follow(resource, lambda event, act=act: self.work.put((act, event)))
        for _ in range(self.THREADS):
            threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            act, event = self.work.get()
            try:
                act(event["type"], event["object"])
            except Refused as refused:
                # Gone or changed meanwhile, or there already: the next event tells.
                if refused.code not in (404, 409, 422):
                    raise

    def once(self, what):
        with self.lock:
            is_new = what not in self.seen
            self.seen.add(what)
            return is_new

    def job(self, kind, job):
        metadata = job["metadata"]
        name = "pod-" + metadata["uid"]
        pods = "%s/namespaces/%s/pods" % (PODS, metadata["namespace"])
        if kind == "DELETED":
            self.cluster.json("DELETE", pods + "/" + name, {"gracePeriodSeconds": 0})
        elif metadata.get("deletionTimestamp"):
            self.release(path(JOBS, "jobs", job), metadata)
        elif self.once(metadata["uid"]):
            template = job["spec"]["template"]
            labels = {**template["metadata"]["labels"], "batch.kubernetes.io/controller-uid": metadata["uid"],
                      "batch.kubernetes.io/job-name": metadata["name"]}
            self.cluster.json("POST", pods, {"metadata": {**template["metadata"], "name": name, "labels": labels},
                                             "spec": template["spec"]})
            container = {"name": "rsync-tls", "image": "mover:1", "imageID": "", "ready": False, "restartCount": 0, "state": {
                "terminated": {"exitCode": 0, "reason": "Completed", "message": COMPLETE, "startedAt": ENDED, "finishedAt": ENDED}}}
            self.cluster.merge(pods + "/" + name + "/status", {"status": {"phase": "Succeeded", "containerStatuses": [container]}})

    def snapshot(self, kind, snapshot):
        if kind != "DELETED" and not snapshot.get("status", {}).get("readyToUse"):
            status = {"boundVolumeSnapshotContentName": "c", "readyToUse": True, "restoreSize": "1Gi"}
            self.cluster.merge(path(SNAPSHOTS, "volumesnapshots", snapshot) + "/status", {"status": status})

    def claim(self, kind, claim):
        metadata, spec = claim["metadata"], claim["spec"]
        here = path(PODS, "persistentvolumeclaims", claim)
        origin = (spec.get("dataSourceRef") or {}).get("kind")
        if kind == "DELETED":
            return
        if metadata.get("deletionTimestamp"):
            self.release(here, metadata)
        elif not spec.get("volumeName") and origin != "ReplicationDestination" and self.once(metadata["uid"]):
            name = "pv-" + metadata["uid"]
            claimed = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": metadata["namespace"],
                       "name": metadata["name"], "uid": metadata["uid"]}
            self.cluster.json("POST", PODS + "/persistentvolumes", {"metadata": {"name": name}, "spec": {
                "accessModes": spec["accessModes"], "capacity": {"storage": "1Gi"}, "claimRef": claimed,
                "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "test", "volumeHandle": name}}})

    def volume(self, kind, volume):
        claimed, name = volume["spec"]["claimRef"], volume["metadata"]["name"]
        if kind == "DELETED" or not self.once((name, claimed["uid"])):
            return
        claims = "%s/namespaces/%s/persistentvolumeclaims/" % (PODS, claimed["namespace"])
        self.cluster.merge(claims + claimed["name"], {"spec": {"volumeName": name}})
        self.phase(claims + claimed["name"], "Bound")
        if name != "pv-" + claimed["uid"]:
            # It was handed over: the claim that it was made for has lost it.
            self.phase(claims + "vs-prime-" + claimed["uid"], "Lost")

    def phase(self, claim, phase):
        self.cluster.merge(claim + "/status", {"status": {"phase": phase, "capacity": {"storage": "1Gi"}}})

    def release(self, here, metadata):
        if metadata.get("finalizers"):
            self.cluster.merge(here, {"metadata": {"uid": metadata["uid"], "finalizers": None}})
