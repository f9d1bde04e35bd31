package driver

import (
	"context"
	"testing"
	"time"
)

func TestAFaultThatIsMisspeltIsRefused(t *testing.T) {
	for _, parameters := range []map[string]string{
		{"snapshotfailures": "2"}, {"snapshotFailures": "two"}, {"snapshotFailures": "-1"},
		{"snapshotNeverReady": "yes"}, {"snapshotDelaySeconds": "5s"}, {"provisionFails": "not for snapshots"},
	} {
		if _, _, err := newFaults().snapshot("s", parameters); err == nil {
			t.Errorf("%v accepted", parameters)
		}
	}
	if err := newFaults().provision(context.Background(), "v", map[string]string{"snapshotFailures": "2"}); err == nil {
		t.Error("a parameter of snapshots is accepted for volumes")
	}
}

func TestFailuresAreCountedForEachObject(t *testing.T) {
	f := newFaults()
	twice := map[string]string{paramSnapshotFailures: "2"}
	for _, c := range []struct {
		object string
		fails  bool
	}{{"a", true}, {"b", true}, {"a", true}, {"a", false}, {"a", false}, {"b", true}, {"b", false}} {
		if _, _, err := f.snapshot(c.object, twice); (err != nil) != c.fails {
			t.Errorf("%s: error %v", c.object, err)
		}
	}
}

func TestASlowClassCountsFromTheFirstAttempt(t *testing.T) {
	f, now := newFaults(), time.Now()
	for _, c := range []struct{ after, left time.Duration }{{0, 5 * time.Second}, {3 * time.Second, 2 * time.Second}, {7 * time.Second, -2 * time.Second}} {
		if got := f.left("v", 5*time.Second, now.Add(c.after)); got != c.left {
			t.Errorf("after %s: %s left", c.after, got)
		}
	}
}

func TestAnAttemptOfASlowClassEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := newFaults().provision(ctx, "v", map[string]string{paramProvisionDelay: "3600"}); err == nil {
		t.Error("no error")
	}
}

func TestSnapshotsOfNoFaultAreReadyAtOnce(t *testing.T) {
	delay, ready, err := newFaults().snapshot("s", nil)
	if delay != 0 || !ready || err != nil {
		t.Errorf("delay %s, ready %v, error %v", delay, ready, err)
	}
}

func TestNamesThatLeaveTheStoreAreRefused(t *testing.T) {
	s := &store{root: "/nonexistent"}
	for _, id := range []string{"", ".", "..", "a/b", "../a", "a\x00b"} {
		if _, err := s.path(volumes, id); err == nil {
			t.Errorf("%q accepted", id)
		}
	}
}
