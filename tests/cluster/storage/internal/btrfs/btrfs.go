// Package btrfs makes and removes subvolumes by the kernel's own calls: starting
// btrfs(8) for each would take longer than the work (linux/btrfs.h).
package btrfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	nameLength = 255 // BTRFS_VOL_NAME_MAX
	readOnly   = 1 << 1
	maxRefer   = 1 << 0
)

// volumeArgs is struct btrfs_ioctl_vol_args_v2, 4096 bytes.
type volumeArgs struct {
	fd      int64
	transid uint64
	flags   uint64
	unused  [4]uint64
	name    [4040]byte
}

// destroyArgs is struct btrfs_ioctl_vol_args, 4096 bytes.
type destroyArgs struct {
	fd   int64
	name [4088]byte
}

// limitArgs is struct btrfs_ioctl_qgroup_limit_args; group 0 is the one of the
// subvolume that the call is made on.
type limitArgs struct {
	group                                         uint64
	flags, maxRefer, maxExcl, rsvRefer, rsvExclus uint64
}

// The numbers are what _IOW and _IOR of linux/ioctl.h make of them.
const (
	write           = 1 << 30
	read            = 2 << 30
	magic           = 0x94 << 8
	snapshotDestroy = write | 4096<<16 | magic | 15
	snapshotCreate  = write | 4096<<16 | magic | 23
	create          = write | 4096<<16 | magic | 24
	groupLimit      = read | 48<<16 | magic | 43
)

// Create makes an empty subvolume.
func Create(path string) error {
	return inParent(path, "create subvolume", func(parent *os.File, name string) error {
		var args volumeArgs
		copy(args.name[:], name)
		return ioctl(parent, create, unsafe.Pointer(&args))
	})
}

// Writable and ReadOnly say what a snapshot is to be.
const (
	Writable Mode = 0
	ReadOnly Mode = readOnly
)

// Mode of a snapshot.
type Mode uint64

// Snapshot makes a subvolume with the content of another.
func Snapshot(source, path string, mode Mode) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	return inParent(path, "snapshot "+source+" as", func(parent *os.File, name string) error {
		args := volumeArgs{fd: int64(from.Fd()), flags: uint64(mode)}
		copy(args.name[:], name)
		return ioctl(parent, snapshotCreate, unsafe.Pointer(&args))
	})
}

// Delete removes a subvolume; none is no error.
func Delete(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return inParent(path, "delete subvolume", func(parent *os.File, name string) error {
		var args destroyArgs
		copy(args.name[:], name)
		return ioctl(parent, snapshotDestroy, unsafe.Pointer(&args))
	})
}

// Limit bounds what a subvolume refers to, shared or not; writes beyond it get EDQUOT.
func Limit(path string, bytes int64) error {
	volume, err := os.Open(path)
	if err != nil {
		return err
	}
	defer volume.Close()
	args := limitArgs{flags: maxRefer, maxRefer: uint64(bytes)}
	if err := ioctl(volume, groupLimit, unsafe.Pointer(&args)); err != nil {
		return fmt.Errorf("limit %s to %d bytes: %w", path, bytes, err)
	}
	return nil
}

func inParent(path, what string, f func(parent *os.File, name string) error) error {
	name := filepath.Base(path)
	if len(name) > nameLength {
		return fmt.Errorf("%s %s: name too long", what, path)
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := f(parent, name); err != nil {
		return fmt.Errorf("%s %s: %w", what, path, err)
	}
	return nil
}

func ioctl(f *os.File, request uintptr, args unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(args))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}
