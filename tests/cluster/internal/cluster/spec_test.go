package cluster

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNoTwoClustersShareAnAddressALinkOrARange(t *testing.T) {
	owner := map[string]string{}
	var ranges []netip.Prefix
	claim := func(what, who string) {
		if other, taken := owner[what]; taken {
			t.Errorf("%s belongs to %s and %s", what, other, who)
		}
		owner[what] = who
	}
	whole := netip.MustParsePrefix("198.18.0.0/15")
	for index := 1; index <= MaxIndex; index++ {
		spec := Spec{Name: string(rune('a' + index)), Index: index, Nodes: MaxNodes}
		texts := []string{spec.Services(), spec.Balancers()}
		for _, n := range spec.Machines() {
			claim(n.Address(), n.Name())
			claim(n.MAC(), n.Name())
			claim(n.Link(), n.Name())
			texts = append(texts, n.Pods(), n.Address()+"/32")
		}
		for _, text := range texts {
			r, err := netip.ParsePrefix(text)
			if err != nil {
				t.Fatal(err)
			}
			if !whole.Contains(r.Addr()) || r.Contains(netip.MustParseAddr(HostAddress)) {
				t.Errorf("%s is not a range for clusters", r)
			}
			for _, other := range ranges {
				if other.Overlaps(r) {
					t.Errorf("%s overlaps %s", r, other)
				}
			}
			ranges = append(ranges, r)
		}
	}
}

func TestTheLongestNameFitsIntoALinkName(t *testing.T) {
	name := strings.Repeat("a", 10)
	if err := CheckName(name); err != nil {
		t.Fatal(err)
	}
	for _, n := range machinesOf(name) {
		if len(n.Link()) > 15 { // IFNAMSIZ with the zero is 16
			t.Errorf("link %s has %d characters", n.Link(), len(n.Link()))
		}
	}
}

func TestNamesThatDoNotFitAreRefused(t *testing.T) {
	for _, name := range []string{"", "A", "1a", "a-b", "a/../b", "a.b", strings.Repeat("a", 11)} {
		if CheckName(name) == nil {
			t.Errorf("%q accepted", name)
		}
	}
}

func TestAClusterServesWhoAsksForLessButNotForMore(t *testing.T) {
	full := Spec{Name: "a", Index: 3, Nodes: 2, Controllers: true, LoadBalancer: true}
	plane := Spec{Name: "a", Index: 3}
	for what, c := range map[string]struct {
		have, want Spec
		serves     bool
	}{
		"the same":                    {full, full, true},
		"any index":                   {full, Spec{Name: "a", Nodes: 1, Controllers: true}, true},
		"another index":               {full, Spec{Name: "a", Nodes: 1, Index: 4}, false},
		"more nodes":                  {Spec{Name: "a", Nodes: 1, Controllers: true}, full, false},
		"only a control plane":        {full, plane, false},
		"nodes of a control plane":    {plane, full, false},
		"controllers of a bare plane": {plane, Spec{Name: "a", Controllers: true}, false},
		"another name":                {full, Spec{Name: "b", Nodes: 1}, false},
	} {
		if c.have.Covers(c.want) != c.serves {
			t.Errorf("%s: %v", what, !c.serves)
		}
	}
}

func TestAStateDirectoryTooDeepForSocketsIsRefused(t *testing.T) {
	if _, err := NewPaths("/root/.cache/doppel-cluster", "abcdefghij"); err != nil {
		t.Error(err)
	}
	if _, err := NewPaths("/tmp/"+strings.Repeat("deep/", 10), "a"); err == nil {
		t.Error("accepted")
	}
}
