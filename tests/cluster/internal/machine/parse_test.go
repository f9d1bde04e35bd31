package machine

import (
	"os"
	"os/exec"
	"reflect"
	"testing"
	"time"
)

func TestAProgramNameWithBlanksAndParenthesesDoesNotShiftTheFields(t *testing.T) {
	line := "77 (a) b (c)) S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 2"
	state, start, err := parseStat([]byte(line))
	if state != 'S' || start != 4711 || err != nil {
		t.Errorf("state %c, start %d, error %v", state, start, err)
	}
}

func TestACutStatLineIsAnError(t *testing.T) {
	for _, line := range []string{"", "77 (a", "77 (a) S 1 2"} {
		if _, _, err := parseStat([]byte(line)); err == nil {
			t.Errorf("%q accepted", line)
		}
	}
}

func TestMountinfoIsReadWithAndWithoutOptionalFields(t *testing.T) {
	text := "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n" +
		"37 35 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n" +
		"not a mount\n"
	want := []Mount{{"/mnt/a b", "ext3", "rw,errors=continue"}, {"/sys/fs/cgroup/pids", "cgroup", "rw,pids"}}
	if got := parseMountinfo(text); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestAProcessIsKnownByItsStartNotOnlyByItsNumber(t *testing.T) {
	p, err := Identify(os.Getpid())
	if err != nil || !p.Alive() {
		t.Fatalf("this process: %v, error %v", p, err)
	}
	p.Start--
	if p.Alive() {
		t.Error("a process of the same number but another start is taken for this one")
	}
}

func TestKillAllEndsWhatIsFoundAndSparesTheCaller(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err := KillAll(func() []int { return []int{cmd.Process.Pid, os.Getpid(), os.Getppid()} }, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("sleep ended by itself")
	}
}
