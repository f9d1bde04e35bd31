package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// NamespacePath is where `ip netns` keeps a named network namespace.
func NamespacePath(name string) string { return filepath.Join("/run/netns", name) }

// LinkExists says whether the host has that network interface.
func LinkExists(name string) bool {
	_, err := os.Lstat("/sys/class/net/" + name)
	return err == nil
}

// BridgeUsed says whether any interface is plugged into the bridge.
func BridgeUsed(name string) bool {
	ports, _ := os.ReadDir("/sys/class/net/" + name + "/brif")
	return len(ports) > 0
}

// IP runs lines as one batch of ip(8), in the named namespace or, with "", here.
func IP(namespace string, lines ...string) error {
	args := []string{"-batch", "-"}
	if namespace != "" {
		args = append([]string{"-netns", namespace}, args...)
	}
	_, err := Run(strings.Join(lines, "\n")+"\n", "ip", args...)
	return err
}

// EnterNamespace moves the calling goroutine's thread into the network namespace.
// The thread stays locked: it must end with the process, by exec or exit.
func EnterNamespace(path string) error {
	runtime.LockOSThread()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering network namespace %s: %w", path, err)
	}
	return nil
}

// InsideNamespace runs f on a thread of its own in the network namespace. The thread
// is thrown away afterwards, as it cannot be trusted to come back.
func InsideNamespace(path string, f func() error) error {
	done := make(chan error)
	go func() {
		err := EnterNamespace(path)
		if err == nil {
			err = f()
		}
		done <- err // and the goroutine ends locked, which ends its thread
	}()
	return <-done
}

// RemoveNamespace removes a named network namespace; none is no error.
func RemoveNamespace(name string) error {
	path := NamespacePath(name)
	if _, err := os.Lstat(path); os.IsNotExist(err) {
		return nil
	}
	// A name may be left without a mount when a run was killed between the two.
	_ = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	return os.Remove(path)
}
