package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"doppel/tests/cluster/internal/machine"
)

// Kubeconfig is the path of a cluster's kubeconfig.
func Kubeconfig(state, name string) (string, error) {
	p, _, err := running(state, name)
	return p.Kubeconfig(), err
}

// Volumes is the directory in which the storage driver keeps each volume, under its
// handle: the tree itself, or a directory with the file of a block volume in it.
func Volumes(state, name string) (string, error) {
	p, _, err := running(state, name)
	return p.In(diskDir, "volumes"), err
}

// Removable names the clusters that `down --all` removes: those of this state
// directory, and those whose own does not exist any more.
func Removable(state string) []string {
	names := map[string]bool{}
	for _, n := range List(state) {
		names[n] = true
	}
	for _, e := range registered() {
		if e.State == state || !exists(e.State) {
			names[e.Name] = true
		}
	}
	var sorted []string
	for n := range names {
		sorted = append(sorted, n)
	}
	sort.Strings(sorted)
	return sorted
}

// WithNodes names the clusters of this state directory that have nodes.
func WithNodes(state string) []string {
	var names []string
	for _, name := range List(state) {
		if _, s, err := running(state, name); err == nil && s.Spec.Nodes > 0 {
			names = append(names, name)
		}
	}
	return names
}

// LoadImages imports archives into every node of a cluster.
func LoadImages(ctx context.Context, state, name string, archives []string, out io.Writer) error {
	p, s, err := running(state, name)
	if err != nil {
		return err
	}
	if s.Spec.Nodes == 0 {
		return fmt.Errorf("cluster %s is a control plane without nodes", name)
	}
	for _, a := range archives {
		if _, err := os.Stat(a); err != nil {
			return err
		}
	}
	for _, n := range s.Spec.Machines() {
		started := time.Now()
		if err := loadImages(ctx, p, n, archives...); err != nil {
			return err
		}
		fmt.Fprintf(out, "node %s: %s loaded (%.1f s)\n", n.Name(), strings.Join(archives, ", "), time.Since(started).Seconds())
	}
	return nil
}

// linesOfEach is how much of each component's log is shown when none is named.
const linesOfEach = 15

// Logs prints one component's log, or the end of all; lines 0 means the default.
func Logs(state, name, component string, lines int, out io.Writer) error {
	if err := CheckName(name); err != nil {
		return err
	}
	p, err := NewPaths(state, name)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(p.In("log", "*.log"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("cluster %s has no logs", name)
	}
	var components []string
	for _, f := range files {
		components = append(components, strings.TrimSuffix(filepath.Base(f), ".log"))
	}
	if component == "" {
		if lines == 0 {
			lines = linesOfEach
		}
		for _, c := range components {
			fmt.Fprintf(out, "==> %s (%s)\n%s\n\n", c, p.In("log", c+".log"), logTail(p, c, lines))
		}
		return nil
	}
	for _, c := range components {
		if c == component {
			if lines == 0 {
				lines = 1 << 30
			}
			_, err := fmt.Fprintln(out, logTail(p, c, lines))
			return err
		}
	}
	return fmt.Errorf("no component %s; there are: %s", component, strings.Join(components, ", "))
}

// Status lists the clusters of the machine, of this state directory and of others.
func Status(ctx context.Context, state string, out io.Writer) error {
	table := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tINDEX\tADDRESS\tNODES\tPROCESSES\tMEMORY\tSTATE")
	seen := map[string]bool{}
	for _, name := range List(state) {
		seen[name] = true
		statusLine(ctx, state, name, table)
	}
	for _, e := range registered() {
		if !seen[e.Name] {
			where := "kept in " + e.State
			if e.State == state || !exists(e.State) {
				where = "remains (cluster down " + e.Name + ")"
			}
			fmt.Fprintf(table, "%s\t%d\t\t\t\t\t%s\n", e.Name, e.Index, where)
		}
	}
	return table.Flush()
}

func statusLine(ctx context.Context, state, name string, table io.Writer) {
	p, err := NewPaths(state, name)
	if err != nil {
		return
	}
	s, err := LoadState(p)
	if err != nil {
		fmt.Fprintf(table, "%s\t\t\t\t\t\tremains (cluster down %s)\n", name, name)
		return
	}
	condition := "healthy"
	if !s.Ready {
		condition = "starting, or its start was interrupted"
	} else if err := healthy(ctx, p, s); err != nil {
		condition = err.Error()
	}
	nodes := "control plane only"
	if s.Spec.Nodes > 0 {
		nodes = fmt.Sprint(s.Spec.Nodes)
	}
	pids := members(p, s.Spec.Machines())
	fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%d\t%d MiB\t%s\n", name, s.Spec.Index, s.Spec.Machines()[0].Address(), nodes,
		len(unique(pids)), machine.Memory(unique(pids))>>20, condition)
}

func unique(pids []int) []int {
	seen := map[int]bool{}
	var once []int
	for _, p := range pids {
		if !seen[p] {
			seen[p] = true
			once = append(once, p)
		}
	}
	return once
}
