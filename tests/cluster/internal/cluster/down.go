package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"doppel/tests/cluster/internal/machine"
)

// Patience for what the kernel finishes on its own after the processes are killed.
const settle = 10 * time.Second

// Down removes a cluster: a second time, or for one that never was, it does nothing.
func Down(state, name string, out io.Writer) error {
	started := time.Now()
	if err := CheckName(name); err != nil {
		return err
	}
	unlock, err := lockCluster(name, func() {
		fmt.Fprintf(out, "another command works on cluster %s: waiting\n", name)
	})
	if err != nil {
		return err
	}
	defer unlock()
	if err := remove(state, name); err != nil {
		return fmt.Errorf("removing cluster %s: %w", name, err)
	}
	fmt.Fprintf(out, "cluster %s is down (%.1f s)\n", name, time.Since(started).Seconds())
	return nil
}

// remove removes whatever there is of a cluster. What belongs to it is found by its
// names and paths, in the kernel: it works when no state was written, or nothing of
// it is true any more. The caller holds the cluster's lock.
func remove(state, name string) error {
	for _, e := range registered() {
		if e.Name == name && e.State != state && exists(e.State) {
			return fmt.Errorf("it is kept in %s: use DOPPEL_CLUSTER_STATE=%s", e.State, e.State)
		}
	}
	p, err := NewPaths(state, name)
	if err != nil {
		return err
	}
	nodes := machinesOf(name)
	if err := machine.KillAll(func() []int { return members(p, nodes) }, settle); err != nil {
		return err
	}
	removeShimSockets(p)
	if err := machine.UnmountBelow(p.Dir); err != nil {
		return err
	}
	if err := machine.DetachLoops(p.Dir, settle); err != nil {
		return err
	}
	if err := removeNetworks(nodes); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := machine.RemoveCgroup(n.Cgroup(), settle); err != nil {
			return err
		}
	}
	// Nothing is mounted below any more, or UnmountBelow had failed.
	if err := os.RemoveAll(p.Dir); err != nil {
		return err
	}
	return unregister(name)
}

// MaxNodes is how many machines a cluster can have.
const MaxNodes = 2

// machinesOf are the machines that a cluster of the name may have.
func machinesOf(name string) []Node { return Spec{Name: name, Nodes: MaxNodes}.Machines() }

// members are the processes of the cluster, by every mark they carry: its cgroup, its
// network namespace, the shims' command line, and the identities written at the start.
func members(p Paths, nodes []Node) []int {
	var pids []int
	for _, n := range nodes {
		pids = append(pids, machine.InCgroup(n.Cgroup())...)
		pids = append(pids, machine.InNamespace(machine.NamespacePath(n.Namespace()))...)
		pids = append(pids, machine.WithArgument("containerd-shim-runc-v2", containerdSocket(p, n))...)
	}
	if s, err := LoadState(p); err == nil {
		for _, started := range s.Processes {
			if started.Alive() {
				pids = append(pids, started.PID)
			}
		}
	}
	return pids
}

// removeShimSockets removes the sockets that containerd's shims keep in /run; each
// bundle holds the address of its own.
func removeShimSockets(p Paths) {
	files, _ := filepath.Glob(p.In(fastDir, "containerd-state*", "io.containerd.runtime.v2.task", "*", "*", "address"))
	for _, f := range files {
		address, err := os.ReadFile(f)
		socket := strings.TrimPrefix(strings.TrimSpace(string(address)), "unix://")
		if err == nil && strings.HasPrefix(socket, "/run/containerd/s/") {
			_ = os.Remove(socket)
		}
	}
}

// removeNetworks removes the nodes' cables and namespaces.
func removeNetworks(nodes []Node) error {
	for _, n := range nodes {
		if machine.LinkExists(n.Link()) {
			if err := machine.IP("", "link del "+n.Link()); err != nil {
				return err
			}
		}
		if err := machine.RemoveNamespace(n.Namespace()); err != nil {
			return err
		}
	}
	return nil
}

// unregister gives the name and the index back. The bridge goes with the last cluster,
// unless something that is not known here is plugged into it.
func unregister(name string) error {
	unlock, err := lockMachine(func() {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Remove(registryFile(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(registered()) == 0 && machine.LinkExists(Bridge) && !machine.BridgeUsed(Bridge) {
		return machine.IP("", "link del "+Bridge)
	}
	return nil
}

// running is a cluster that commands can be sent to.
func running(state, name string) (Paths, State, error) {
	if err := CheckName(name); err != nil {
		return Paths{}, State{}, err
	}
	p, err := NewPaths(state, name)
	if err != nil {
		return p, State{}, err
	}
	s, err := LoadState(p)
	if err != nil {
		return p, s, fmt.Errorf("cluster %s does not run (cluster up %s)", name, name)
	}
	return p, s, nil
}
