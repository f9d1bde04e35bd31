//go:build cluster

package live

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAPodWithANewVolumeIsReadySoon(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	started := time.Now()
	apply(t, one, ns, claim("data", "100Mi", "")+pod("p", "data", mount, "echo text >/data/file; sleep 1000"))
	kubectl(t, one, "wait", "-n", ns, "--for=condition=Ready", "pod/p", "--timeout=60s")
	t.Logf("Ready %.2f s after kubectl apply began", time.Since(started).Seconds())
	if got := kubectl(t, one, "exec", "-n", ns, "p", "--", "busybox", "cat", "/data/file"); got != "text\n" {
		t.Errorf("the file contains %q", got)
	}
}

func TestASnapshotHoldsWhatWasThereWhenItWasTaken(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	apply(t, one, ns, claim("data", "100Mi", "")+pod("writer", "data", mount, "echo before >/data/file"))
	finished(t, one, ns, "writer")
	started := time.Now()
	apply(t, one, ns, snapshot("s", "data", "btrfs"))
	await(t, time.Minute, one, "true", "get", "volumesnapshot", "-n", ns, "s", "-o", "jsonpath={.status.readyToUse}")
	t.Logf("snapshot ready %.2f s after kubectl apply began", time.Since(started).Seconds())
	if size := kubectl(t, one, "get", "volumesnapshot", "-n", ns, "s", "-o", "jsonpath={.status.restoreSize}"); size != "100Mi" {
		t.Errorf("restore size %q", size)
	}
	apply(t, one, ns, pod("changer", "data", mount, "echo after >/data/file"))
	finished(t, one, ns, "changer")
	apply(t, one, ns,
		claim("restored", "100Mi", "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: s}")+
			claim("cloned", "200Mi", "dataSource: {kind: PersistentVolumeClaim, name: data}")+
			claim("small", "10Mi", "dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: s}")+
			pod("restored", "restored", mount, "cat /data/file; echo own >/data/file")+"---"+
			pod("cloned", "cloned", mount, "cat /data/file"))
	if got := finished(t, one, ns, "restored"); got != "before" {
		t.Errorf("restored volume contains %q", got)
	}
	if got := finished(t, one, ns, "cloned"); got != "after" {
		t.Errorf("cloned volume contains %q", got)
	}
	if got := kubectl(t, one, "get", "pvc", "-n", ns, "small", "-o", phase); got != "Pending" {
		t.Errorf("a claim smaller than its snapshot is %s", got)
	}
}

func TestAFullVolumeRefusesMore(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	apply(t, one, ns, claim("data", "16Mi", "")+
		pod("p", "data", mount, "dd if=/dev/urandom of=/data/file bs=1M count=32 conv=fsync 2>&1 || true"))
	if got := finished(t, one, ns, "p"); !strings.Contains(got, "uota exceeded") {
		t.Errorf("dd said %q", got)
	}
}

func TestABlockVolumeIsADeviceAndCanBeCloned(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	apply(t, one, ns, claim("data", "16Mi", "volumeMode: Block")+
		pod("writer", "data", device, "blockdev --getsize64 /dev/data; echo content | dd of=/dev/data conv=sync,fsync 2>/dev/null"))
	if got := finished(t, one, ns, "writer"); got != "16777216" {
		t.Errorf("size %q", got)
	}
	apply(t, one, ns, snapshot("s", "data", "btrfs"))
	await(t, time.Minute, one, "true", "get", "volumesnapshot", "-n", ns, "s", "-o", "jsonpath={.status.readyToUse}")
	apply(t, one, ns,
		claim("restored", "32Mi", "volumeMode: Block\n  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: s}")+
			pod("reader", "restored", device, "head -c 7 /dev/data"))
	if got := finished(t, one, ns, "reader"); got != "content" {
		t.Errorf("content %q", got)
	}
}

func TestAVolumeOfAWaitingClassIsMadeForItsFirstPod(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	apply(t, one, ns, claim("data", "16Mi", "storageClassName: btrfs-wffc"))
	await(t, 20*time.Second, one, "WaitForFirstConsumer", "get", "events", "-n", ns, "-o", "jsonpath={.items[0].reason}")
	apply(t, one, ns, pod("p", "data", mount, "echo text >/data/file"))
	finished(t, one, ns, "p")
	volume := kubectl(t, one, "get", "pvc", "-n", ns, "data", "-o", "jsonpath={.spec.volumeName}")
	node := kubectl(t, one, "get", "pv", volume, "-o", "jsonpath={.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]}")
	if node != one {
		t.Errorf("the volume is pinned to %q", node)
	}
}

func TestAClassThatCannotProvisionSaysWhy(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	apply(t, one, ns, claim("data", "16Mi", "storageClassName: btrfs-provision-fails"))
	await(t, 20*time.Second, one, "ProvisioningFailed", "get", "events", "-n", ns, "-o", "jsonpath={.items[?(@.reason==\"ProvisioningFailed\")].reason}")
	if events := kubectl(t, one, "get", "events", "-n", ns, "-o", "jsonpath={.items[*].message}"); !strings.Contains(events, "the pool is full") {
		t.Errorf("events: %s", events)
	}
	if got := kubectl(t, one, "get", "pvc", "-n", ns, "data", "-o", phase); got != "Pending" {
		t.Errorf("the claim is %s", got)
	}
}

func TestProvisioningFaultsEnd(t *testing.T) {
	up(t, one)
	for class, least := range map[string]time.Duration{"btrfs-provision-fails-twice": 0, "btrfs-provision-slow": 5 * time.Second} {
		t.Run(class, func(t *testing.T) {
			ns := namespace(t, one)
			started := time.Now()
			apply(t, one, ns, claim("data", "16Mi", "storageClassName: "+class))
			await(t, time.Minute, one, "Bound", "get", "pvc", "-n", ns, "data", "-o", phase)
			if took := time.Since(started); took < least {
				t.Errorf("bound after %s", took)
			}
		})
	}
}

func TestSnapshotFaultsAreAsTheirClassesSay(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	classes := []string{"slow", "fails", "fails-twice", "never-ready"}
	apply(t, one, ns, claim("data", "16Mi", ""))
	await(t, 20*time.Second, one, "Bound", "get", "pvc", "-n", ns, "data", "-o", phase)
	started := time.Now()
	for _, class := range classes {
		apply(t, one, ns, snapshot(class, "data", "btrfs-snapshot-"+class))
	}
	status := func(name, field string) []string {
		return []string{"get", "volumesnapshot", "-n", ns, name, "-o", fmt.Sprintf("jsonpath={.status.%s}", field)}
	}
	await(t, 20*time.Second, one, "true", status("fails-twice", "readyToUse")...)
	await(t, 20*time.Second, one, "false", status("slow", "readyToUse")...)
	await(t, 30*time.Second, one, "true", status("slow", "readyToUse")...)
	if took := time.Since(started); took < 5*time.Second {
		t.Errorf("the slow snapshot was ready after %s", took)
	}
	if got := kubectl(t, one, status("never-ready", "readyToUse")...); got != "false" {
		t.Errorf("the one that never gets ready: readyToUse %q", got)
	}
	if got := kubectl(t, one, status("fails", "error.message")...); !strings.Contains(got, "the array refuses snapshots") {
		t.Errorf("the one that fails says %q", got)
	}
	if got := kubectl(t, one, status("fails-twice", "error")...); got != "" {
		t.Errorf("the one that works in the end still says %q", got)
	}
}

func TestADriverWithoutSnapshotsHasNoClassForThem(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	apply(t, one, ns, claim("data", "16Mi", "storageClassName: btrfs-no-snapshots"))
	await(t, 20*time.Second, one, "Bound", "get", "pvc", "-n", ns, "data", "-o", phase)
	apply(t, one, ns, strings.Replace(snapshot("s", "data", "x"), "volumeSnapshotClassName: x,", "", 1))
	var message string
	for deadline := time.Now().Add(20 * time.Second); message == "" && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		message = kubectl(t, one, "get", "volumesnapshot", "-n", ns, "s", "-o", "jsonpath={.status.error.message}")
	}
	if !strings.Contains(message, "class") {
		t.Errorf("the snapshot's error is %q", message)
	}
}
