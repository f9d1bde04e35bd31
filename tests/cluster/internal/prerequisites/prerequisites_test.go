package prerequisites

import (
	"strings"
	"testing"
)

func TestWhatIsMissingIsNamedWithItsPackageAndHowToGetIt(t *testing.T) {
	lacks, packages := missing(func(n need) bool { return n.debian != "nftables" && n.what != "/usr/lib/cni/ptp" })
	text := complain(lacks, packages).Error()
	for _, want := range []string{
		"nft (Debian package nftables)", "/usr/lib/cni/ptp (Debian package containernetworking-plugins)",
		"apt-get install -y --no-install-recommends containernetworking-plugins nftables",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "runc") {
		t.Errorf("runc is not missing:\n%s", text)
	}
}

func TestACompleteMachineIsNotComplainedAbout(t *testing.T) {
	if err := complain(missing(func(need) bool { return true })); err != nil {
		t.Error(err)
	}
}
