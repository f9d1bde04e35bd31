package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"doppel/tests/cluster/internal/image"
	"doppel/tests/cluster/internal/kube"
	"doppel/tests/cluster/internal/machine"
	"golang.org/x/sys/unix"
)

// Images that every node has.
const (
	pauseImage   = "doppel.test/pause:1"
	busyboxImage = "doppel.test/busybox:1"
)

// mountFast mounts the memory file system. Its size is a limit, not a reservation.
func (s *starter) mountFast() error {
	dir := s.paths.In(fastDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("doppel-"+s.spec.Name, dir, "tmpfs", 0, "size=6g,mode=755"); err != nil {
		return fmt.Errorf("mounting a tmpfs at %s: %w", dir, err)
	}
	return nil
}

// prepareNodes does what only containerd and the disk are needed for.
func (s *starter) prepareNodes(ctx context.Context) error {
	if err := s.createDisk(); err != nil {
		return err
	}
	archives, err := s.packImages()
	if err != nil {
		return err
	}
	for _, n := range s.spec.Machines() {
		if err := loadImages(ctx, s.paths, n, archives...); err != nil {
			return err
		}
	}
	return nil
}

// createDisk makes the file system that volumes live on, with quotas: a full volume
// is to answer EDQUOT.
func (s *starter) createDisk() error {
	file, dir := s.paths.In("disk.img"), s.paths.In(diskDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(file, diskSize); err != nil {
		return err
	}
	if _, err := machine.Run("", "mkfs.btrfs", "-q", "--nodiscard", file); err != nil {
		return err
	}
	if _, err := machine.Run("", "mount", "-o", "loop,discard=async,noatime", file, dir); err != nil {
		return err
	}
	_, err := machine.Run("", "btrfs", "quota", "enable", dir)
	return err
}

// packImages makes the archives of the two images of every node.
func (s *starter) packImages() ([]string, error) {
	busybox, _ := machine.Find("busybox")
	var archives []string
	for _, o := range []image.Options{
		{Reference: pauseImage, Entrypoint: "/pause", Files: map[string]string{"/pause": s.set.Path("pause")}},
		{Reference: busyboxImage, Entrypoint: "/bin/busybox", Files: map[string]string{"/bin/busybox": busybox, "/bin/sh": busybox}},
	} {
		path := s.paths.In("images", strconv.Itoa(len(archives))+".tar")
		if err := image.WriteFile(path, o); err != nil {
			return nil, err
		}
		archives = append(archives, path)
	}
	return archives, nil
}

// loadImages imports image archives into the node's containerd, awaiting it if it has
// just been started.
func loadImages(ctx context.Context, p Paths, n Node, archives ...string) error {
	socket := containerdSocket(p, n)
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("containerd of node %s: %w", n.Name(), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, a := range archives {
		if _, err := machine.Run("", "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", a); err != nil {
			return fmt.Errorf("loading %s into node %s: %w", a, n.Name(), err)
		}
	}
	return nil
}

// awaitReady waits for what a test may rely on from its first line.
func (s *starter) awaitReady(ctx context.Context, client *kube.Client) error {
	await := func(what string, check func(context.Context) error) error {
		if err := kube.Await(ctx, 2*time.Minute, s.alive, check); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		s.phase(what)
		return nil
	}
	if s.spec.Nodes > 0 {
		for _, n := range s.spec.Machines() {
			if err := await("node "+n.Name()+" ready", func(ctx context.Context) error { return nodeReady(ctx, client, n) }); err != nil {
				return err
			}
		}
		if err := await("DNS answers", s.dnsAnswers); err != nil {
			return err
		}
	}
	if s.spec.Controllers {
		return await("default ServiceAccount", func(ctx context.Context) error {
			return client.Get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
		})
	}
	return nil
}

// nodeReady checks the node's condition, that the taint of its beginning is gone, and
// that the kubelet knows the storage driver.
func nodeReady(ctx context.Context, client *kube.Client, n Node) error {
	var node struct {
		Spec   struct{ Taints []struct{ Key string } }
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := client.Get(ctx, "/api/v1/nodes/"+n.Name(), &node); err != nil {
		return err
	}
	ready := errors.New("no condition Ready yet")
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			ready = nil
			if c.Status != "True" {
				ready = errors.New(c.Message)
			}
		}
	}
	if ready != nil {
		return ready
	}
	if len(node.Spec.Taints) > 0 {
		return fmt.Errorf("taint %s", node.Spec.Taints[0].Key)
	}
	var drivers struct {
		Spec struct{ Drivers []struct{ Name string } }
	}
	if err := client.Get(ctx, "/apis/storage.k8s.io/v1/csinodes/"+n.Name(), &drivers); err != nil {
		return err
	}
	if n := len(drivers.Spec.Drivers); n < len(storageDrivers) {
		return fmt.Errorf("%d storage drivers are registered", n)
	}
	return nil
}

func (s *starter) dnsAnswers(ctx context.Context) error {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(s.first().Address(), "53"))
	if err != nil {
		return err
	}
	return conn.Close()
}
