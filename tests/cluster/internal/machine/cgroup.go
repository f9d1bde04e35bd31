package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// hierarchy is one mounted cgroup tree: the only one with cgroup v2, one for each
// controller with v1.
type hierarchy struct {
	path    string
	unified bool
	options []string
}

func hierarchies() []hierarchy {
	mounts, _ := Mounts()
	var found []hierarchy
	for _, m := range mounts {
		if m.Type == "cgroup" || m.Type == "cgroup2" {
			found = append(found, hierarchy{m.Path, m.Type == "cgroup2", strings.Split(m.SuperOptions, ",")})
		}
	}
	return found
}

func (h hierarchy) has(controller string) bool {
	for _, o := range h.options {
		if o == controller {
			return true
		}
	}
	return false
}

// CreateCgroup makes the group in every hierarchy: the kubelet wants its root group
// to exist, and a v1 cpuset is unusable until its lists are filled.
func CreateCgroup(group string) error {
	all := hierarchies()
	if len(all) == 0 {
		return errors.New("no cgroup file system is mounted (mount one at /sys/fs/cgroup)")
	}
	for _, h := range all {
		dir := filepath.Join(h.path, group)
		if h.unified {
			// Controllers must be handed down from the root; some may be in use by v1.
			names, _ := os.ReadFile(filepath.Join(h.path, "cgroup.controllers"))
			for _, c := range strings.Fields(string(names)) {
				_ = os.WriteFile(filepath.Join(h.path, "cgroup.subtree_control"), []byte("+"+c), 0o644)
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if h.has("cpuset") {
			for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
				value, err := os.ReadFile(filepath.Join(h.path, f))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, f), value, 0o644)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// JoinCgroup moves the calling process into the leaf "system" of the group, in the
// one hierarchy that marks what belongs to a cluster (containers are below the
// same group in every hierarchy, put there by runc). The others are left alone:
// the kubelet refuses to run with its cpu and memory groups apart.
func JoinCgroup(group string) error {
	mark := hierarchy{}
	for _, h := range hierarchies() {
		if h.has("pids") || (h.unified && mark.path == "") {
			mark = h
		}
	}
	if mark.path == "" {
		return errors.New("neither cgroup v2 nor the v1 controller pids is mounted")
	}
	dir := filepath.Join(mark.path, group, "system")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o644)
}

// InCgroup lists the processes in the group and below it, in every hierarchy.
func InCgroup(group string) []int {
	var pids []int
	for _, h := range hierarchies() {
		_ = filepath.WalkDir(filepath.Join(h.path, group), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // gone in the meantime, or never there
			}
			if d.Name() == "cgroup.procs" {
				data, _ := os.ReadFile(path)
				for _, f := range strings.Fields(string(data)) {
					if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
						pids = append(pids, pid)
					}
				}
			}
			return nil
		})
	}
	return pids
}

// CgroupDirs lists the group's directories that exist, deepest first.
func CgroupDirs(group string) []string {
	var dirs []string
	for _, h := range hierarchies() {
		var below []string
		_ = filepath.WalkDir(filepath.Join(h.path, group), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				below = append([]string{path}, below...)
			}
			return nil
		})
		dirs = append(dirs, below...)
	}
	return dirs
}

// RemoveCgroup removes the group everywhere. The kernel refuses while a killed
// process is still being reaped, so it is tried for a while.
func RemoveCgroup(group string, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		for _, dir := range CgroupDirs(group) {
			_ = os.Remove(dir)
		}
		left := CgroupDirs(group)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cgroup %s is still in use", left[0])
		}
		time.Sleep(20 * time.Millisecond)
	}
}
