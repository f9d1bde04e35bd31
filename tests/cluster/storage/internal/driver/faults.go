package driver

import (
	"context"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Parameters of a StorageClass.
const (
	paramProvisionFails    = "provisionFails"        // message of an error that never ends
	paramProvisionFailures = "provisionFailures"     // how often it fails before it works
	paramProvisionDelay    = "provisionDelaySeconds" // how long it takes
	// ParamPin makes volumes of a WaitForFirstConsumer class usable on the node they were
	// made for only.
	ParamPin = "pinToNode"
)

// Parameters of a VolumeSnapshotClass.
const (
	paramSnapshotFails    = "snapshotFails"
	paramSnapshotFailures = "snapshotFailures"
	paramSnapshotDelay    = "snapshotDelaySeconds" // how long the snapshot is not ready to use
	paramSnapshotNever    = "snapshotNeverReady"
)

// faults counts how often each object failed. A restart of the driver starts again.
type faults struct {
	mu     sync.Mutex
	failed map[string]int
	since  map[string]time.Time
}

func newFaults() *faults {
	return &faults{failed: map[string]int{}, since: map[string]time.Time{}}
}

// provision is called for every attempt to make a volume.
func (f *faults) provision(ctx context.Context, id string, parameters map[string]string) error {
	p := parser{parameters: parameters}
	message, failures, delay := p.text(paramProvisionFails), p.number(paramProvisionFailures), p.seconds(paramProvisionDelay)
	_ = p.truth(ParamPin)
	if err := p.done(); err != nil {
		return err
	}
	if err := f.fail("volume "+id, message, failures); err != nil {
		return err
	}
	select {
	case <-time.After(f.left("volume "+id, delay, time.Now())):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// snapshot is called for every attempt to take a snapshot, and says how long after it
// was taken it becomes ready; ok is false if never.
func (f *faults) snapshot(id string, parameters map[string]string) (delay time.Duration, ok bool, err error) {
	p := parser{parameters: parameters}
	message, failures := p.text(paramSnapshotFails), p.number(paramSnapshotFailures)
	delay, never := p.seconds(paramSnapshotDelay), p.truth(paramSnapshotNever)
	if err := p.done(); err != nil {
		return 0, false, err
	}
	return delay, !never, f.fail("snapshot "+id, message, failures)
}

func (f *faults) fail(object, message string, failures int) error {
	if message != "" {
		// A final error: csi-snapshotter takes ResourceExhausted and its like for a call
		// that may yet succeed, and would not let the snapshot be deleted.
		return status.Error(codes.Internal, message)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed[object] >= failures {
		return nil
	}
	f.failed[object]++
	return status.Errorf(codes.Internal, "asked for failure %d of %d of %s", f.failed[object], failures, object)
}

// left is what is left of the delay since the first attempt.
func (f *faults) left(object string, delay time.Duration, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.since[object]; !known {
		f.since[object] = now
	}
	return f.since[object].Add(delay).Sub(now)
}

// parser reads class parameters, and refuses those it was not asked for: a misspelt
// fault must not pass for a driver that works.
type parser struct {
	parameters map[string]string
	known      int
	err        error
}

func (p *parser) text(key string) string {
	value, there := p.parameters[key]
	if there {
		p.known++
	}
	return value
}

func (p *parser) number(key string) int {
	text := p.text(key)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		p.err = status.Errorf(codes.InvalidArgument, "parameter %s: %q is not a number", key, text)
	}
	return int(n)
}

func (p *parser) seconds(key string) time.Duration { return time.Duration(p.number(key)) * time.Second }

func (p *parser) truth(key string) bool {
	switch text := p.text(key); text {
	case "true":
		return true
	case "", "false":
		return false
	default:
		p.err = status.Errorf(codes.InvalidArgument, "parameter %s: %q is neither true nor false", key, text)
		return false
	}
}

func (p *parser) done() error {
	if p.err == nil && p.known != len(p.parameters) {
		return status.Errorf(codes.InvalidArgument, "unknown parameters among %v", p.parameters)
	}
	return p.err
}
