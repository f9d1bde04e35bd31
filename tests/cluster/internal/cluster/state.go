package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"doppel/tests/cluster/internal/machine"
)

// registryDir lists the clusters of the whole machine, whoever's state directory they
// are in: names, addresses and links are shared. It lives as long as they do, until
// the machine restarts.
const registryDir = "/run/doppel-cluster"

// entry is what the registry knows of a cluster.
type entry struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	State string `json:"state"` // state directory
}

// State is what a started cluster remembers of itself.
type State struct {
	Spec      Spec      `json:"spec"`
	Programs  string    `json:"programs"` // key of what it was started with
	Digest    string    `json:"digest"`   // of its command lines and configuration
	Ready     bool      `json:"ready"`    // start-up went through to the end
	Processes []Started `json:"processes"`
}

// Started is one process that was started.
type Started struct {
	machine.Process
	Component string   `json:"component"`
	Node      int      `json:"node"`
	Command   []string `json:"command"`
}

func (p Paths) stateFile() string { return p.In("cluster.json") }

// LoadState reads a cluster's state; with none the error is fs.ErrNotExist.
func LoadState(p Paths) (State, error) {
	var s State
	return s, readJSON(p.stateFile(), &s)
}

func (s State) save(p Paths) error { return writeJSON(p.stateFile(), s) }

// Dead names the components that do not run any more.
func (s State) Dead() []string {
	var dead []string
	for _, p := range s.Processes {
		if !p.Alive() {
			dead = append(dead, p.Component)
		}
	}
	return dead
}

// List names the clusters in this state directory.
func List(state string) []string {
	entries, _ := os.ReadDir(filepath.Join(state, "clusters"))
	var names []string
	for _, e := range entries {
		if e.IsDir() && CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names
}

func registered() []entry {
	files, _ := filepath.Glob(filepath.Join(registryDir, "*.json"))
	var all []entry
	for _, f := range files {
		var e entry
		if readJSON(f, &e) == nil {
			all = append(all, e)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

func registryFile(name string) string { return filepath.Join(registryDir, name+".json") }

// register reserves a name and an index for the machine: the wanted index, or with 0
// the first free one. The caller holds the machine's lock.
func register(name string, wanted int, state string) (int, error) {
	taken := map[int]string{}
	for _, e := range registered() {
		if e.Name == name {
			if e.State != state && exists(e.State) {
				return 0, fmt.Errorf("cluster %s is kept in %s: use another name, or DOPPEL_CLUSTER_STATE=%s", name, e.State, e.State)
			}
			continue
		}
		taken[e.Index] = e.Name
	}
	index := wanted
	if wanted == 0 {
		for index = 1; taken[index] != ""; index++ {
		}
	}
	if other := taken[index]; other != "" {
		return 0, fmt.Errorf("index %d belongs to cluster %s", index, other)
	}
	if index < 1 || index > MaxIndex {
		return 0, fmt.Errorf("index %d is not between 1 and %d: too many clusters", index, MaxIndex)
	}
	return index, writeJSON(registryFile(name), entry{name, index, state})
}

func lockMachine(say func()) (func(), error) {
	return machine.Lock(filepath.Join(registryDir, "lock"), say)
}

// lockCluster keeps two commands from changing one cluster at a time.
func lockCluster(name string, say func()) (func(), error) {
	return machine.Lock(filepath.Join(registryDir, name+".lock"), say)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func readJSON(path string, out any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeJSON replaces the file at once, so that a reader never sees half of it.
func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	part := path + ".part"
	if err := os.WriteFile(part, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(part, path)
}
