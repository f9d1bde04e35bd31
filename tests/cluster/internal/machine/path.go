// Package machine is what this program does to the machine itself: processes,
// namespaces, links, mounts, loop devices and cgroups. Everything in it finds its
// targets from the kernel (proc, sysfs), never from memory, so that it works over
// the remains of a run that was killed.
package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// systemDirs is where Debian keeps the programs used here. The caller's PATH may
// lack the sbin directories even for root (su without -).
const systemDirs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Path is a PATH with every system directory in it, whatever the caller's is.
func Path(first ...string) string {
	parts := append([]string{}, first...)
	if p := os.Getenv("PATH"); p != "" {
		parts = append(parts, p)
	}
	return strings.Join(append(parts, systemDirs), ":")
}

// Find is the path of a program in PATH or in the system directories.
func Find(program string) (string, bool) {
	for _, dir := range filepath.SplitList(Path()) {
		p := filepath.Join(dir, program)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return p, true
		}
	}
	return "", false
}

// Run runs a system program with input on its standard input, and returns what it
// printed; the error contains what it said.
func Run(input string, program string, args ...string) (string, error) {
	path, ok := Find(program)
	if !ok {
		return "", fmt.Errorf("%s is not installed (see: cluster prerequisites)", program)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "PATH="+Path(), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
