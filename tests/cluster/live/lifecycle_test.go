//go:build cluster

package live

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestUpOfAHealthyClusterReturnsAtOnce(t *testing.T) {
	up(t, one)
	if took := timed(t, "up", one); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestDownLeavesNothing(t *testing.T) {
	before := remains(t)
	timed(t, "up", brief)
	occupy(t)
	if len(remains(t)) == len(before) {
		t.Fatal("a running cluster is not seen by this test")
	}
	sockets := shimSockets(t)
	timed(t, "down", brief)
	same(t, before)
	for _, s := range sockets {
		if _, err := os.Lstat(s); err == nil {
			t.Errorf("socket %s of a shim stays", s)
		}
	}
	if took := timed(t, "down", brief); took > time.Second {
		t.Errorf("a second down took %s", took)
	}
}

func TestUpOverAHalfKilledClusterWorks(t *testing.T) {
	before := remains(t)
	run(t, "up", brief)
	occupy(t)
	stranger := exec.Command("sleep", "1000") // names the cluster, and is none of it
	stranger.Args = append(stranger.Args[:0], "doppel-"+brief, "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	for range 2 {
		pids := processes(t)
		rand.Shuffle(len(pids), func(i, j int) { pids[i], pids[j] = pids[j], pids[i] })
		for _, pid := range pids[:len(pids)/2] {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		t.Logf("killed %d of %d processes", len(pids)/2, len(pids))
		timed(t, "up", brief)
		kubectl(t, brief, "wait", "--for=condition=Ready", "node/"+brief, "--timeout=10s")
		occupy(t)
	}
	for _, pid := range processes(t) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	timed(t, "down", brief)
	same(t, before)
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a process that is not the cluster's was ended: %v", err)
	}
}

func TestUpAfterAnUpThatWasKilledWorks(t *testing.T) {
	before := remains(t)
	for _, after := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second} {
		cmd := exec.Command(program, "up", brief)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after) // the moment of the kill is what varies; nothing is awaited
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	timed(t, "up", brief)
	kubectl(t, brief, "wait", "--for=condition=Ready", "node/"+brief, "--timeout=10s")
	run(t, "down", brief)
	same(t, before)
}

func TestAnAPIServerThatIsRestartedServesWhatItHad(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	if took := timed(t, "restart", one, "kube-apiserver", "--after", "500ms"); took < 500*time.Millisecond {
		t.Errorf("it was not down: %s", took)
	}
	if got := kubectl(t, one, "get", "namespace", ns, "-o", phase); got != "Active" {
		t.Errorf("namespace %s is %q", ns, got)
	}
	if out := run(t, "up", one); !strings.Contains(out, "is up (0.") {
		t.Errorf("up does not find it healthy:\n%s", out)
	}
	if out, err := try("", "restart", one, "nonsense"); err == nil || !strings.Contains(out, "kube-apiserver") {
		t.Errorf("an unknown component: %v\n%s", err, out)
	}
}

func TestAControlPlaneAloneServesTheAPI(t *testing.T) {
	before := remains(t)
	timed(t, "up", brief, "--control-plane-only")
	out := kubectl(t, brief, "api-resources", "-o", "name")
	for _, want := range []string{"jobs.batch", "volumesnapshots.snapshot.storage.k8s.io"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in the API", want)
		}
	}
	host := exec.Command(filepath.Join(filepath.Dir(strings.TrimSpace(run(t, "kubeconfig", brief))), "bin", "kubectl"),
		"--kubeconfig", strings.TrimSpace(run(t, "kubeconfig", brief)), "get", "--raw", "/readyz")
	if out, err := host.CombinedOutput(); err != nil || string(out) != "ok" {
		t.Errorf("from the host: %s %v", out, err)
	}
	run(t, "up", brief, "--control-plane-only", "--with-controllers")
	await(t, 20*time.Second, brief, "default", "get", "serviceaccount", "default", "-o", "jsonpath={.metadata.name}")
	run(t, "down", brief)
	same(t, before)
}

func TestAnImageIsPackedLoadedAndRun(t *testing.T) {
	up(t, one)
	ns := namespace(t, one)
	archive := filepath.Join(t.TempDir(), "image.tar")
	run(t, "image", archive, "doppel.test/live:1", "/usr/bin/env", "/usr/bin/env=/usr/bin/env", "--user", "65532", "--env", "LIVE=yes", "--label", "a=b")
	timed(t, "load-image", one, archive)
	apply(t, one, ns, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  securityContext: {runAsNonRoot: true}
  containers: [{name: c, image: "doppel.test/live:1"}]
`)
	if got := finished(t, one, ns, "p"); !strings.Contains(got, "LIVE=yes") {
		t.Errorf("it printed %q", got)
	}
}

// occupy makes the cluster hold what is hard to remove: a volume, a block device, pods.
func occupy(t *testing.T) {
	t.Helper()
	apply(t, brief, "default", claim("data", "16Mi", "")+claim("device", "16Mi", "volumeMode: Block")+
		pod("holder", "data", mount, "cd /data; sleep 1000")+"---"+pod("device", "device", device, "exec 3</dev/data; sleep 1000"))
	kubectl(t, brief, "wait", "--for=condition=Ready", "pod/holder", "pod/device", "--timeout=60s")
}

// remains lists what this machine has that may belong to the brief cluster, found in
// other ways than the program's.
func remains(t *testing.T) []string {
	t.Helper()
	script := `
ip netns list | cut -d' ' -f1 | sed 's/^/netns /'
ip -o link | grep -o 'dp-[^@:]*' | sed 's/^/link /'
losetup -n -O BACK-FILE | grep -v '(deleted)' | sed 's/^/loop /'
awk '{print "mount " $2}' /proc/mounts | grep -e "$1" -e /run/netns/cni
find /sys/fs/cgroup -type d -name 'doppel-*' 2>/dev/null | sed 's/^/cgroup /'
ls -d "$2/clusters/$1" /run/doppel-cluster/$1.json 2>/dev/null | sed 's/^/file /'
for p in /proc/[0-9]*; do tr '\0' ' ' <$p/cmdline 2>/dev/null | grep -q -e "clusters/$1/" && echo process $p; done; true
`
	state := strings.TrimSpace(os.Getenv("DOPPEL_CLUSTER_STATE"))
	if state == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		state = filepath.Join(home, "doppel-cluster")
	}
	cmd := exec.Command("bash", "-c", script, "-", brief, state)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Other clusters on the machine come and go while this runs.
	var own []string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if strings.Contains(line, brief) || strings.Contains(line, "process") {
			own = append(own, line)
		}
	}
	return own
}

// shimSockets lists the sockets of the brief cluster's shims, which are outside its
// state directory and do not have its name.
func shimSockets(t *testing.T) []string {
	t.Helper()
	dir := filepath.Dir(strings.TrimSpace(run(t, "kubeconfig", brief)))
	files, err := filepath.Glob(dir + "/fast/containerd-state/io.containerd.runtime.v2.task/k8s.io/*/address")
	if err != nil || len(files) == 0 {
		t.Fatalf("no shims: %v", err)
	}
	var sockets []string
	for _, f := range files {
		address, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, strings.TrimPrefix(string(address), "unix://"))
	}
	return sockets
}

func same(t *testing.T, before []string) {
	t.Helper()
	if after := remains(t); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// processes lists what runs in the brief cluster's cgroups, pods included.
func processes(t *testing.T) []int {
	t.Helper()
	out, err := exec.Command("bash", "-c", "find /sys/fs/cgroup -path '*/doppel-"+brief+"*' -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un").Output()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	var pids []int
	for _, field := range strings.Fields(string(out)) {
		var pid int
		if _, err := fmt.Sscan(field, &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
