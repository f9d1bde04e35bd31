package driver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NodeGetInfo says which node this is.
func (d *Driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.node}, nil
}

// NodeGetCapabilities says that volumes are published without being staged.
func (d *Driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}

// NodePublishVolume binds a volume to the path at which the kubelet wants it.
func (d *Driver) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	volume, err := d.store.get(volumes, r.VolumeId)
	if err != nil {
		return nil, err
	}
	source, err := d.store.path(volumes, r.VolumeId)
	if err != nil {
		return nil, err
	}
	if err := d.claim(r); err != nil {
		return nil, err
	}
	if mounted(r.TargetPath) {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if volume.Block {
		if source, err = attach(filepath.Join(source, blockFile)); err != nil {
			return nil, err
		}
		err = errors.Join(os.MkdirAll(filepath.Dir(r.TargetPath), 0o755), touch(r.TargetPath))
	} else {
		err = os.MkdirAll(r.TargetPath, 0o755)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Mount(source, r.TargetPath, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("bind %s to %s: %w", source, r.TargetPath, err)
	}
	if r.Readonly {
		err := unix.Mount("", r.TargetPath, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		if err != nil {
			return nil, fmt.Errorf("make %s read-only: %w", r.TargetPath, err)
		}
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume undoes NodePublishVolume.
func (d *Driver) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	path, err := d.store.path(volumes, r.VolumeId)
	if err != nil {
		return nil, err
	}
	if mounted(r.TargetPath) {
		if err := unix.Unmount(r.TargetPath, unix.UMOUNT_NOFOLLOW); err != nil {
			return nil, fmt.Errorf("unmount %s: %w", r.TargetPath, err)
		}
	}
	if err := os.Remove(r.TargetPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if last := d.release(r.VolumeId, r.TargetPath); last && exists(filepath.Join(path, blockFile)) {
		detach(filepath.Join(path, blockFile))
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// Claims: a ReadWriteOnce volume is used by one node at a time, as it is where it has
// to be attached. claims/VOLUME/NODE has one file for each target.

func (d *Driver) claims(volume string) string { return filepath.Join(d.store.root, "claims", volume) }

func (d *Driver) claim(r *csi.NodePublishVolumeRequest) error {
	dir := d.claims(r.VolumeId)
	switch r.GetVolumeCapability().GetAccessMode().GetMode() {
	case csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER, csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY:
	default:
		nodes, _ := os.ReadDir(dir)
		for _, n := range nodes {
			if users, _ := os.ReadDir(filepath.Join(dir, n.Name())); n.Name() != d.node && len(users) > 0 {
				return status.Errorf(codes.FailedPrecondition, "volume %s is in use on node %s", r.VolumeId, n.Name())
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, d.node), 0o755); err != nil {
		return err
	}
	return touch(filepath.Join(dir, d.node, digest(r.TargetPath)))
}

// release says whether this was the volume's last target anywhere.
func (d *Driver) release(volume, target string) bool {
	_ = os.Remove(filepath.Join(d.claims(volume), d.node, digest(target)))
	_ = os.Remove(filepath.Join(d.claims(volume), d.node))
	return os.Remove(d.claims(volume)) == nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// mounted says whether something is mounted at the path. A bind within one file system
// has the same device as its parent, so the table is asked.
func mounted(path string) bool {
	data, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && strings.Contains(string(data), " "+path+" ")
}

// attach shows a file as a block device; the same one if it is shown already.
func attach(file string) (string, error) {
	out, err := exec.Command("losetup", "--nooverlap", "--find", "--show", "--direct-io=on", file).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("losetup %s: %w: %s", file, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func detach(file string) {
	out, _ := exec.Command("losetup", "--noheadings", "--output", "NAME", "--associated", file).Output()
	for _, device := range strings.Fields(string(out)) {
		_ = exec.Command("losetup", "--detach", device).Run()
	}
}
