// Package prerequisites knows what must be on the machine before a cluster can start.
package prerequisites

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"doppel/tests/cluster/internal/machine"
)

// need is a program, or with a slash a file, and the Debian package that has it.
type need struct{ what, debian string }

var needs = []need{
	{"containerd", "containerd"},
	{"containerd-shim-runc-v2", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"/usr/lib/cni/ptp", "containernetworking-plugins"},
	{"/usr/lib/cni/host-local", "containernetworking-plugins"},
	{"/usr/lib/cni/loopback", "containernetworking-plugins"},
	{"nft", "nftables"},
	{"ip", "iproute2"},
	{"mkfs.btrfs", "btrfs-progs"},
	{"btrfs", "btrfs-progs"},
	{"mount", "mount"},
	{"umount", "mount"},
	{"losetup", "mount"},
	{"busybox", "busybox-static"},
	{"ldd", "libc-bin"},
}

// goHint is for the one thing that is not a Debian package: Debian's Go is too old.
const goHint = "go (a Go toolchain of the version in tests/cluster/go.mod)"

// lookup says whether the machine has a program or file.
type lookup func(n need) bool

// missing lists what is not there, and the Debian packages that would bring it.
func missing(has lookup) (lacks, packages []string) {
	wanted := map[string]bool{}
	for _, n := range needs {
		if !has(n) {
			lacks = append(lacks, n.what+" (Debian package "+n.debian+")")
			wanted[n.debian] = true
		}
	}
	for p := range wanted {
		packages = append(packages, p)
	}
	sort.Strings(packages)
	return lacks, packages
}

func (n need) present() bool {
	if filepath.IsAbs(n.what) {
		_, err := os.Stat(n.what)
		return err == nil
	}
	_, ok := machine.Find(n.what)
	return ok
}

// kernel lists the file systems that the kernel neither has nor can load.
func kernel() []string {
	var lacks []string
	for _, fs := range []string{"btrfs", "overlay"} {
		if hasFilesystem(fs) {
			continue
		}
		_, _ = machine.Run("", "modprobe", fs)
		if !hasFilesystem(fs) {
			lacks = append(lacks, fs+" (a kernel with that file system)")
		}
	}
	return lacks
}

func hasFilesystem(name string) bool {
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(data), "\n") {
		if fields := strings.Fields(line); len(fields) > 0 && fields[len(fields)-1] == name {
			return true
		}
	}
	return false
}

// Check is an error that names everything that is missing, and how to get it.
func Check() error {
	lacks, packages := missing(need.present)
	if _, err := exec.LookPath("go"); err != nil {
		lacks = append(lacks, goHint)
	}
	return complain(append(lacks, kernel()...), packages)
}

func complain(lacks, packages []string) error {
	if len(lacks) == 0 {
		return nil
	}
	text := "this machine lacks:\n  " + strings.Join(lacks, "\n  ")
	if len(packages) > 0 {
		text += "\nas root on Debian, `cluster prerequisites --install` does:\n  apt-get update && apt-get " + strings.Join(install(packages), " ")
	}
	return errors.New(text)
}

func install(packages []string) []string {
	return append([]string{"install", "-y", "--no-install-recommends"}, packages...)
}

// Install installs the missing Debian packages; what apt says goes to out.
func Install(out io.Writer) error {
	_, packages := missing(need.present)
	if len(packages) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("installing packages needs root")
	}
	apt, ok := machine.Find("apt-get")
	if !ok {
		return fmt.Errorf("there is no apt-get here: install %s yourself", strings.Join(packages, ", "))
	}
	for _, args := range [][]string{{"update"}, install(packages)} {
		cmd := exec.Command(apt, args...)
		cmd.Env = append(os.Environ(), "PATH="+machine.Path(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("apt-get %s: %w", strings.Join(args, " "), err)
		}
	}
	return nil
}
