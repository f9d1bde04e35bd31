package cluster

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"doppel/tests/cluster/internal/programs"
)

func planOf(spec Spec) plan {
	return plan{spec, Paths{"/state/clusters/" + spec.Name}, programs.Set{}}
}

var full = Spec{Name: "a", Index: 1, Nodes: 2, Controllers: true, LoadBalancer: true}

func names(p plan) []string {
	var all []string
	for _, c := range p.components() {
		all = append(all, c.Name)
	}
	return all
}

func TestAControlPlaneIsTwoProcesses(t *testing.T) {
	if got := names(planOf(Spec{Name: "a", Index: 1})); strings.Join(got, " ") != "etcd kube-apiserver" {
		t.Errorf("%q", got)
	}
}

func TestEveryComponentHasALogOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range names(planOf(full)) {
		if seen[name] {
			t.Errorf("two components are called %s", name)
		}
		seen[name] = true
	}
	for _, want := range []string{"kubelet", "kubelet-2", "containerd-2", "balancer"} {
		if !seen[want] {
			t.Errorf("there is no %s", want)
		}
	}
}

func TestConfigurationLiesBelowTheClusterAndIsWellFormed(t *testing.T) {
	for path, text := range planOf(full).files() {
		if !strings.HasPrefix(path, "/state/clusters/a/") {
			t.Errorf("%s is outside", path)
		}
		if e := filepath.Ext(path); (e == ".json" || e == ".conflist") && !json.Valid([]byte(text)) {
			t.Errorf("%s is not JSON:\n%s", path, text)
		}
	}
}

func TestTheDigestFollowsTheConfigurationOnly(t *testing.T) {
	first := planOf(full).digest()
	if planOf(full).digest() != first {
		t.Error("it changes by itself")
	}
	other := full
	other.LoadBalancer = false
	if planOf(other).digest() == first {
		t.Error("it does not change with a component")
	}
	moved := full
	moved.Index = 2
	if planOf(moved).digest() == first {
		t.Error("it does not change with the addresses")
	}
}

func TestThereIsOneDefaultOfEachKindOfClass(t *testing.T) {
	defaults := map[string]int{}
	for _, c := range classes() {
		if m, ok := c.Content["metadata"].(object); ok && m["annotations"] != nil {
			defaults[c.Content["kind"].(string)]++
		}
	}
	if defaults["StorageClass"] != 1 || defaults["VolumeSnapshotClass"] != 1 {
		t.Errorf("%v", defaults)
	}
}
