package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LoopDevices lists the loop devices whose file lies in the directory.
func LoopDevices(dir string) []string {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var devices []string
	for _, f := range files {
		backing, err := os.ReadFile(f)
		device := "/dev/" + strings.Split(f, "/")[3]
		if err == nil && (strings.HasPrefix(string(backing), dir+"/") || strings.HasPrefix(loopName(device), dir+"/")) {
			devices = append(devices, device)
		}
	}
	return devices
}

// loopName is the file's name as it was when the device was set up. The kernel's
// own backing_file is a path only as long as that file system is mounted.
func loopName(device string) string {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info.File_name[:])
}

// DetachLoops detaches the loop devices whose file lies in the directory, and waits
// until they are gone: one that was mounted goes when the last user lets go of it.
func DetachLoops(dir string, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		devices := LoopDevices(dir)
		if len(devices) == 0 {
			return nil
		}
		for _, d := range devices {
			if fd, err := unix.Open(d, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				_ = unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0)
				_ = unix.Close(fd)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("loop devices %v are still in use", devices)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
