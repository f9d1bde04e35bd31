package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"doppel/tests/cluster/internal/machine"
	"golang.org/x/sys/unix"
)

// SpawnCommand is the hidden command by which this program becomes a component: it
// enters the node's cgroup and network namespace first, so that there is no moment at
// which the component is outside of them.
const SpawnCommand = "__become"

// spawn starts a component and leaves it alone: it outlives this program.
func spawn(p Paths, c Component) (Started, error) {
	self, err := os.Executable()
	if err != nil {
		return Started{}, err
	}
	log, err := os.OpenFile(p.In("log", c.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return Started{}, err
	}
	defer log.Close()
	cmd := exec.Command(self, append([]string{SpawnCommand, c.Node.Cgroup(), c.Node.Namespace()}, c.Command...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = p.Dir
	// Nothing of the caller's environment: a proxy or a KUBECONFIG would lead astray.
	cmd.Env = []string{"PATH=" + machine.Path(), "HOME=/root", "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Started{}, fmt.Errorf("starting %s: %w", c.Name, err)
	}
	id, err := machine.Identify(cmd.Process.Pid)
	if err != nil {
		return Started{}, fmt.Errorf("starting %s: %w", c.Name, err)
	}
	go func() { _ = cmd.Wait() }() // no zombie while this program goes on
	return Started{Process: id, Component: c.Name, Node: c.Node.Number, Command: c.Command}, nil
}

var errThread = errors.New("a program is executed from another thread than the first: the process would be a zombie meanwhile, and count as dead")

// Become is the other side of spawn. It returns only if it fails. It has to be called on the process's
// first thread: Linux lets that one end, and shows the process as a zombie, before another thread that
// executes a program takes its place (de_thread in fs/exec.c).
func Become(args []string) error {
	if unix.Gettid() != os.Getpid() {
		return errThread
	}
	if len(args) < 3 {
		return fmt.Errorf("%s CGROUP NAMESPACE PROGRAM ARGS...", SpawnCommand)
	}
	if err := machine.JoinCgroup(args[0]); err != nil {
		return err
	}
	if err := machine.EnterNamespace(machine.NamespacePath(args[1])); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", args[2], unix.Exec(args[2], args[2:], os.Environ()))
}

// Exec replaces this program by a command in the network namespace of the cluster's
// first node, with kubectl and the other programs in its PATH. It returns only if it fails.
func Exec(state, name string, command []string) error {
	p, s, err := running(state, name)
	if err != nil {
		return err
	}
	n := s.Spec.Machines()[0]
	if err := machine.EnterNamespace(machine.NamespacePath(n.Namespace())); err != nil {
		return err
	}
	path := machine.Path(p.In("bin"))
	for _, v := range [][2]string{
		{"PATH", path},
		{"KUBECONFIG", p.Kubeconfig()},
		{"CONTAINERD_ADDRESS", containerdSocket(p, n)},
		{"CONTAINERD_NAMESPACE", "k8s.io"},
	} {
		if err := os.Setenv(v[0], v[1]); err != nil {
			return err
		}
	}
	program := command[0]
	if !strings.Contains(program, "/") {
		found, err := exec.LookPath(program)
		if err != nil {
			return err
		}
		program = found
	}
	return fmt.Errorf("%s: %w", program, unix.Exec(program, command, os.Environ()))
}

// linkPrograms gives people the programs under their names in one directory.
func (p plan) linkPrograms() error {
	for _, name := range []string{"kubectl", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"} {
		link := filepath.Join(p.paths.In("bin"), name)
		if err := os.Symlink(p.set.Path(name), link); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// logTail is the end of a component's log.
func logTail(p Paths, component string, lines int) string {
	data, err := os.ReadFile(p.In("log", component+".log"))
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
