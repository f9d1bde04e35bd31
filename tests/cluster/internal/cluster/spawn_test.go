package cluster

import (
	"errors"
	"runtime"
	"testing"
)

// Executed from another thread a component would be seen as a zombie, and its cluster given up.
func TestAProgramIsExecutedFromTheFirstThreadOnly(t *testing.T) {
	refused := make(chan error)
	for range 2 {
		go func() {
			runtime.LockOSThread() // two at a time: one of them is not on the first thread
			refused <- Become([]string{"no-cgroup", "no-namespace", "/bin/true"})
			select {}
		}()
	}
	first, second := <-refused, <-refused
	if !errors.Is(first, errThread) && !errors.Is(second, errThread) {
		t.Errorf("neither was refused for its thread: %v; %v", first, second)
	}
}
