package main

import (
	"flag"
	"slices"
	"testing"
)

func TestFlagsMayStandBetweenArguments(t *testing.T) {
	for _, c := range []struct {
		args  []string
		rest  []string
		index int
		all   bool
	}{
		{[]string{"a"}, []string{"a"}, 0, false},
		{[]string{"a", "--index", "3"}, []string{"a"}, 3, false},
		{[]string{"--index=4", "a", "--all", "b"}, []string{"a", "b"}, 4, true},
		{[]string{"a", "--", "--all"}, []string{"a", "--all"}, 0, false},
		{[]string{"a", "-"}, []string{"a", "-"}, 0, false},
	} {
		flags := flag.NewFlagSet("test", flag.ContinueOnError)
		index, all := flags.Int("index", 0, ""), flags.Bool("all", false, "")
		rest, err := parse(flags, c.args)
		if err != nil || !slices.Equal(rest, c.rest) || *index != c.index || *all != c.all {
			t.Errorf("%q: %q, index %d, all %v, error %v", c.args, rest, *index, *all, err)
		}
	}
}

func TestAnUnknownFlagIsRefused(t *testing.T) {
	if _, err := parse(flag.NewFlagSet("test", flag.ContinueOnError), []string{"a", "--nonsense"}); err == nil {
		t.Error("accepted")
	}
}
