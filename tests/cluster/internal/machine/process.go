package machine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process names one process for good: a PID alone may have been given to another
// since. Start is in clock ticks after boot (field 22 of /proc/PID/stat).
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// Identify reads the identity of a running process.
func Identify(pid int) (Process, error) {
	_, start, err := stat(pid)
	return Process{PID: pid, Start: start}, err
}

// Alive says whether this very process still runs; a zombie does not.
func (p Process) Alive() bool {
	state, start, err := stat(p.PID)
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}

func stat(pid int) (state byte, start uint64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	return parseStat(data)
}

// parseStat reads fields 3 and 22. The program's name, field 2, is in parentheses
// and may itself contain spaces and parentheses.
func parseStat(data []byte) (state byte, start uint64, err error) {
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return 0, 0, fmt.Errorf("no program name in %q", data)
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("only %d fields in %q", len(fields), data)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0][0], start, err
}

// eachProcess calls each with every PID of the machine.
func eachProcess(each func(pid int)) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			each(pid)
		}
	}
}

// InNamespace lists the processes whose network namespace is bound to that path.
func InNamespace(path string) []int {
	var target unix.Stat_t
	if unix.Stat(path, &target) != nil {
		return nil
	}
	var pids []int
	eachProcess(func(pid int) {
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) == nil && st.Dev == target.Dev && st.Ino == target.Ino {
			pids = append(pids, pid)
		}
	})
	return pids
}

// WithArgument lists the processes of that program name (its base name) which
// have the argument on their command line.
func WithArgument(program, argument string) []int {
	var pids []int
	eachProcess(func(pid int) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			return
		}
		args := strings.Split(string(data), "\x00")
		if filepath.Base(args[0]) != program {
			return
		}
		for _, a := range args[1:] {
			if a == argument {
				pids = append(pids, pid)
			}
		}
	})
	return pids
}

// KillAll sends SIGKILL to what find lists, again and again until it lists nothing
// that lives: a process may have forked between the listing and the signal.
// The caller and its ancestors are spared.
func KillAll(find func() []int, limit time.Duration) error {
	spared := ancestors()
	deadline := time.Now().Add(limit)
	for {
		var alive []int
		for _, pid := range find() {
			p, err := Identify(pid)
			if err != nil || !p.Alive() || spared[pid] {
				continue
			}
			alive = append(alive, pid)
			kill(p)
		}
		if len(alive) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end after SIGKILL (are they stuck in I/O?)", alive)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// kill signals through a pidfd: between the check of the identity and the signal,
// the descriptor keeps the PID from meaning another process.
func kill(p Process) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if p.Alive() {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

func ancestors() map[int]bool {
	spared := map[int]bool{}
	for pid := os.Getpid(); pid > 0 && !spared[pid]; {
		spared[pid] = true
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) < 2 {
			break
		}
		pid, _ = strconv.Atoi(fields[1])
	}
	return spared
}

// Memory is what the processes occupy, in bytes; what several share counts for each.
func Memory(pids []int) int64 {
	var pages int64
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if fields := strings.Fields(string(data)); err == nil && len(fields) > 1 {
			resident, _ := strconv.ParseInt(fields[1], 10, 64)
			pages += resident
		}
	}
	return pages * int64(os.Getpagesize())
}
