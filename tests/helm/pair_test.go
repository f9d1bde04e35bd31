package helm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Where the volume is, and where its double is kept.
const (
	here  = "shop"
	there = "shop-double"
)

const security = `{"runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": true,
	"seccompProfile": {"type": "RuntimeDefault"}}`

// makePair makes a volume with a large file, a destination, and its key beside the volume. The source is not there yet.
func makePair(t *testing.T) {
	t.Helper()
	for _, name := range []string{here, there} {
		namespace(t, name)
	}
	apply(t, list(claim("data", "null"), pod("writer", "data")), "-n", here)
	apply(t, list(fmt.Sprintf(`{"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationDestination",
		"metadata": {"name": "data"}, "spec": {"rsyncTLS": {"copyMethod": "Snapshot", "capacity": "2Gi",
		"accessModes": ["ReadWriteOnce"], "serviceType": "ClusterIP", "moverSecurityContext": %s}}}`, security)), "-n", there)
	get(t, "kubectl", "wait", "pod", "writer", "-n", here, "--for=condition=Ready", "--timeout=120s")
	shell(t, here, "writer", `cd /data && mkdir many && for i in $(seq 200); do echo "file $i" >"many/$i"; done
		ln -s many/1 link && dd if=/dev/urandom of=large bs=1048576 count=300 2>/dev/null`)
	await(t, time.Minute, "the destination's address and key", func() (bool, string) {
		told := destination(t, "{.status.rsyncTLS.address} {.status.rsyncTLS.keySecret}")
		return len(strings.Fields(told)) == 2, told
	})
	told := strings.Fields(destination(t, "{.status.rsyncTLS.address} {.status.rsyncTLS.keySecret}"))
	key := field(t, "{.data}", "secret", told[1], "-n", there)
	apply(t, list(`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "data-psk"}, "data": `+key+`}`), "-n", here)
}

// createSource makes the source, whose mover has so little of a processor that a transfer takes many seconds on any
// machine, and can be met in its middle.
func createSource(t *testing.T, tag string) {
	t.Helper()
	apply(t, fmt.Sprintf(`{"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource", "metadata": {"name": "data"},
		"spec": {"sourcePVC": "data", "trigger": {"manual": %q}, "rsyncTLS": {"copyMethod": "Snapshot",
		"keySecret": "data-psk", "address": %q, "moverSecurityContext": %s, "moverResources": {"limits": {"cpu": "20m"}}}}}`,
		tag, destination(t, "{.status.rsyncTLS.address}"), security), "-n", here)
}

// trigger starts a further synchronization by hand.
func trigger(t *testing.T, tag string) {
	t.Helper()
	run(t, "kubectl", "patch", "replicationsource", "data", "-n", here, "--type=merge",
		"-p", fmt.Sprintf(`{"spec":{"trigger":{"manual":%q}}}`, tag))
}

// meet waits until the source's mover transfers. What it has moved it says only every few seconds.
func meet(t *testing.T) {
	t.Helper()
	await(t, 2*time.Minute, "the transfer", func() (bool, string) {
		logs, _ := try("kubectl", "logs", "-n", here, "-l", mover, "--tail=-1", "--ignore-errors")
		return strings.Contains(logs, `"phase":"transferring"`), logs
	})
}

// mover selects the pods of movers.
const mover = "app.kubernetes.io/component=rsync-tls-mover"

// runs are the Jobs and pods of both movers, with their UIDs and how often they were restarted.
func runs(t *testing.T) string {
	t.Helper()
	var found []string
	for _, ns := range []string{here, there} {
		found = append(found,
			field(t, `{range .items[*]}{.kind} {.metadata.name} {.metadata.uid}{"\n"}{end}`,
				"jobs", "-n", ns, "-l", "app.kubernetes.io/created-by=volsync"),
			field(t, `{range .items[*]}{.kind} {.metadata.name} {.metadata.uid} restarts {.status.containerStatuses[*].restartCount}{"\n"}{end}`,
				"pods", "-n", ns, "-l", mover))
	}
	return strings.Join(found, "\n")
}

// awaitSynchronized waits until the source has answered this trigger.
func awaitSynchronized(t *testing.T, tag string) {
	t.Helper()
	await(t, 5*time.Minute, "the synchronization "+tag, func() (bool, string) {
		status := source(t, "{.status}")
		return strings.Contains(status, fmt.Sprintf(`"lastManualSync":%q`, tag)), status
	})
}

// awaitImage waits until the destination has published another image than the former one.
func awaitImage(t *testing.T, former string) string {
	t.Helper()
	var image string
	await(t, 90*time.Second, "a new image", func() (bool, string) {
		image = destination(t, "{.status.latestImage.name}")
		return image != "" && image != former, image
	})
	return image
}

// compare fails unless a volume made from the image holds what the source's volume holds.
func compare(t *testing.T, image string) {
	t.Helper()
	origin := fmt.Sprintf(`{"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": %q}`, image)
	apply(t, list(claim("reader", origin), pod("reader", "reader")), "-n", there)
	get(t, "kubectl", "wait", "pod", "reader", "-n", there, "--for=condition=Ready", "--timeout=120s")
	digest := readFile(t, "..", "support", "digest.sh")
	original, double := shell(t, here, "writer", digest), shell(t, there, "reader", digest)
	fmt.Printf("  volume in %s %s\n  its double in %s %s\n", here, original, there, double)
	if original != double || original == "" {
		t.Fatal("the volumes differ")
	}
	get(t, "kubectl", "delete", "pod,pvc", "reader", "-n", there)
}

func source(t *testing.T, path string) string {
	t.Helper()
	return field(t, path, "replicationsource", "data", "-n", here)
}

func destination(t *testing.T, path string) string {
	t.Helper()
	return field(t, path, "replicationdestination", "data", "-n", there)
}

func shell(t *testing.T, ns, pod, script string) string {
	t.Helper()
	out, err := tryWith(script, program, "exec", cluster, "--", "kubectl", "exec", "-i", "-n", ns, pod, "--", "sh", "-s")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func list(objects ...string) string {
	return `{"apiVersion": "v1", "kind": "List", "items": [` + strings.Join(objects, ",") + `]}`
}

func claim(name, origin string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": %q}, "spec": {
		"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}, "dataSourceRef": %s}}`, name, origin)
}

// pod is one that sleeps beside a claim, at /data.
func pod(name, claim string) string {
	pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name}, "spec": map[string]any{
		"securityContext":               json.RawMessage(security),
		"terminationGracePeriodSeconds": 0,
		"containers": []any{map[string]any{
			"name": "shell", "image": "doppel.test/busybox:1", "command": []string{"/bin/busybox", "sleep", "1000000"},
			"volumeMounts":    []any{map[string]any{"name": "data", "mountPath": "/data"}},
			"securityContext": json.RawMessage(`{"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}`),
		}},
		"volumes": []any{map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": claim}}},
	}}
	return string(must(json.Marshal(pod)))
}
