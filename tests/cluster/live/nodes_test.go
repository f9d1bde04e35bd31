//go:build cluster

package live

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// on puts a pod on a node, past the scheduler's choice but not past the scheduler.
func on(node, manifest string) string {
	return strings.Replace(manifest, "spec:\n", "spec:\n  nodeSelector: {kubernetes.io/hostname: "+node+"}\n", 1)
}

func TestASecondNodeRunsPodsAndSharesVolumes(t *testing.T) {
	before := remains(t)
	timed(t, "up", brief, "--nodes", "2")
	second := brief + "-2"
	const ns = "default" // the cluster does not live longer than the test
	apply(t, brief, ns, claim("data", "16Mi", "")+
		on(brief, pod("first", "data", mount, "echo text >/data/file; sleep 1000")))
	kubectl(t, brief, "wait", "-n", ns, "--for=condition=Ready", "pod/first", "--timeout=60s")

	apply(t, brief, ns, on(second, pod("second", "data", mount, "cat /data/file")))
	message := func() string {
		return kubectl(t, brief, "get", "events", "-n", ns, "-o", `jsonpath={.items[?(@.reason=="FailedMount")].message}`)
	}
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(message(), "in use on node "+brief); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the second node may use a volume that the first one uses; it says %q", message())
		}
	}
	kubectl(t, brief, "delete", "pod", "-n", ns, "first")
	if got := finished(t, brief, ns, "second"); got != "text" {
		t.Errorf("the second node reads %q", got)
	}

	apply(t, brief, ns, claim("waiting", "16Mi", "storageClassName: btrfs-wffc")+
		on(second, pod("pinned", "waiting", mount, "echo text >/data/file")))
	finished(t, brief, ns, "pinned")
	apply(t, brief, ns, pod("follows", "waiting", mount, "cat /data/file"))
	finished(t, brief, ns, "follows")
	if node := kubectl(t, brief, "get", "pod", "-n", ns, "follows", "-o", "jsonpath={.spec.nodeName}"); node != second {
		t.Errorf("a pod runs on %q, its volume is pinned to %s", node, second)
	}

	for i, place := range []struct{ server, client string }{{brief, second}, {second, brief}, {second, second}} {
		name := fmt.Sprintf("%d", i)
		apply(t, brief, ns, on(place.server, serverNamed("server"+name))+on(place.client, client("client"+name, "server"+name)))
		if got := finished(t, brief, ns, "client"+name); !strings.Contains(got, "answer of server"+name) {
			t.Errorf("from %s to %s: %q", place.client, place.server, got)
		}
	}
	run(t, "down", brief)
	same(t, before)
}

// serverNamed is a pod that answers and its Service, both of that name.
func serverNamed(name string) string {
	one := server[:strings.LastIndex(server, "---")]
	return strings.ReplaceAll(one, "server", name)
}
