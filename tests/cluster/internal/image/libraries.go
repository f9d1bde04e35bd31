package image

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os/exec"
	"regexp"

	"doppel/tests/cluster/internal/machine"
)

// withLibraries adds what the dynamic loader would load for each program, at the
// paths where it looks for them.
func withLibraries(files map[string]string) (map[string]string, error) {
	all := map[string]string{}
	for inside, here := range files {
		all[inside] = here
		libraries, err := libraries(here)
		if err != nil {
			return nil, err
		}
		for _, l := range libraries {
			all[l] = l
		}
	}
	return all, nil
}

// libraries asks ldd, and only for what is a dynamically linked ELF file.
func libraries(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, nil // a script, a configuration file; a missing one is found later
	}
	defer f.Close()
	if f.Section(".dynamic") == nil {
		return nil, nil
	}
	ldd, ok := machine.Find("ldd")
	if !ok {
		return nil, fmt.Errorf("ldd is not installed (Debian package libc-bin)")
	}
	out, err := exec.Command(ldd, path).CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("statically linked")) && !bytes.Contains(out, []byte("not a dynamic")) {
		return nil, fmt.Errorf("ldd %s: %w: %s", path, err, out)
	}
	return parseLdd(string(out))
}

var (
	lddFound   = regexp.MustCompile(`(?m)^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$`)
	lddMissing = regexp.MustCompile(`(?m)^\s*(\S+) => not found$`)
)

func parseLdd(out string) ([]string, error) {
	if m := lddMissing.FindStringSubmatch(out); m != nil {
		return nil, fmt.Errorf("the shared library %s is not installed", m[1])
	}
	var paths []string
	for _, m := range lddFound.FindAllStringSubmatch(out, -1) {
		paths = append(paths, m[1])
	}
	return paths, nil
}
