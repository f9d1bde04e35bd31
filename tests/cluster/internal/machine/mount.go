package machine

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one line of /proc/self/mountinfo.
type Mount struct {
	Path, Type, SuperOptions string
}

// Mounts lists what is mounted, in the order of mounting.
func Mounts() ([]Mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMountinfo(string(data)), nil
}

// parseMountinfo follows proc_pid_mountinfo(5): optional fields end with a dash.
func parseMountinfo(text string) []Mount {
	var mounts []Mount
	for _, line := range strings.Split(text, "\n") {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		mounts = append(mounts, Mount{Path: unescape(left[4]), Type: right[0], SuperOptions: right[2]})
	}
	return mounts
}

// unescape undoes the octal escapes of blank, tab, newline and backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// MountsBelow lists the mount points in the directory, latest first.
func MountsBelow(dir string) []string {
	mounts, _ := Mounts()
	var below []string
	for _, m := range mounts {
		if strings.HasPrefix(m.Path, dir+"/") {
			below = append([]string{m.Path}, below...)
		}
	}
	return below
}

// UnmountBelow unmounts everything mounted in the directory. One that is busy is
// detached: its users have been killed and let go of it in a moment.
func UnmountBelow(dir string) error {
	for range 10 {
		below := MountsBelow(dir)
		if len(below) == 0 {
			return nil
		}
		for _, path := range below {
			if unix.Unmount(path, unix.UMOUNT_NOFOLLOW) != nil {
				_ = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
			}
		}
	}
	return fmt.Errorf("%v cannot be unmounted", MountsBelow(dir))
}
