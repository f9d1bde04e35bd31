//go:build cluster

// Package live tests the program on real clusters, which it starts itself: root, some
// minutes, and on a fresh machine the time of building Kubernetes. Run it with
//
//	go test -tags cluster -count 1 -v -timeout 30m ./live
//
// Its clusters have names of their own, so that others may run beside them.
package live

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Clusters of these tests. All tests but those of starting and ending share the first two.
const (
	one   = "liveone"
	two   = "livetwo"
	brief = "livebrief"
)

// program is this program, built once.
var program string

func TestMain(m *testing.M) {
	code := 1
	defer func() { os.Exit(code) }()
	dir, err := os.MkdirTemp("", "live")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "cluster")
	build := exec.Command("go", "build", "-o", program, "..")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return
	}
	code = m.Run()
	if out, err := exec.Command(program, "down", one, two, brief).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
		code = 1
	}
}

// run runs the program; it must succeed.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try("", args...)
	if err != nil {
		t.Fatalf("cluster %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func try(input string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// timed runs the program and says how long it took.
func timed(t *testing.T, args ...string) time.Duration {
	t.Helper()
	started := time.Now()
	out := run(t, args...)
	took := time.Since(started)
	t.Logf("cluster %s: %.2f s\n%s", strings.Join(args, " "), took.Seconds(), out)
	return took
}

// up makes sure that the shared clusters run.
func up(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		run(t, "up", name)
	}
}

func kubectl(t *testing.T, cluster string, args ...string) string {
	t.Helper()
	return run(t, append([]string{"exec", cluster, "--", "kubectl"}, args...)...)
}

// apply applies a manifest in a namespace.
func apply(t *testing.T, cluster, namespace, manifest string) {
	t.Helper()
	out, err := try(manifest, "exec", cluster, "--", "kubectl", "apply", "-n", namespace, "-f", "-")
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, manifest)
	}
}

// namespace makes one of the test's own. Its end is not awaited: the controller lets
// every namespace wait for ten seconds.
func namespace(t *testing.T, cluster string) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	if len(name) > 50 {
		name = name[:50]
	}
	name = strings.Trim(name, "-")
	kubectl(t, cluster, "create", "namespace", name)
	t.Cleanup(func() {
		if out, err := try("", "exec", cluster, "--", "kubectl", "delete", "namespace", name, "--wait=false"); err != nil {
			t.Errorf("namespace %s: %v\n%s", name, err, out)
		}
	})
	return name
}

// await waits until what kubectl prints is as wanted.
func await(t *testing.T, limit time.Duration, cluster, want string, args ...string) {
	t.Helper()
	args = append([]string{"exec", cluster, "--", "kubectl"}, args...)
	var out string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if out, _ = try("", args...); strings.TrimSpace(out) == want {
			return
		}
	}
	t.Fatalf("kubectl %s: %q after %s, want %q", strings.Join(args[4:], " "), out, limit, want)
}

// pod is a busybox pod with a claim at /data, or a device at /dev/data.
func pod(name, claim, volume, script string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers:
  - name: c
    image: doppel.test/busybox:1
    command: [/bin/sh, -c, %q]
    %s
  volumes: [{name: data, persistentVolumeClaim: {claimName: %s}}]
`, name, script, volume, claim)
}

const (
	mount  = "volumeMounts: [{name: data, mountPath: /data}]"
	device = "volumeDevices: [{name: data, devicePath: /dev/data}]"
)

// claim is a PersistentVolumeClaim with further fields of its spec.
func claim(name, size, more string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: %s}}
  %s
---`, name, size, more)
}

func snapshot(name, of, class string) string {
	return fmt.Sprintf(`
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: %s}
spec: {volumeSnapshotClassName: %s, source: {persistentVolumeClaimName: %s}}
---`, name, class, of)
}

const phase = "jsonpath={.status.phase}"

// finished waits for a pod's end and returns what it wrote.
func finished(t *testing.T, cluster, ns, name string) string {
	t.Helper()
	await(t, time.Minute, cluster, "Succeeded", "get", "pod", "-n", ns, name, "-o", phase)
	return strings.TrimSpace(kubectl(t, cluster, "logs", "-n", ns, name))
}
