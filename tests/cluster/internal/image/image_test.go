package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheSameFilesGiveTheSameBytes(t *testing.T) {
	o := example(t)
	first := pack(t, o)
	for _, file := range o.Files {
		later := time.Now().Add(time.Hour)
		if strings.HasPrefix(file, os.TempDir()) {
			if err := os.Chtimes(file, later, later); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Equal(first, pack(t, o)) {
		t.Error("a later date of the files changes the image")
	}
}

func TestAnImageHasItsFilesTheirLibrariesAndItsConfiguration(t *testing.T) {
	o := example(t)
	blobs := entries(t, pack(t, o))
	var index struct{ Manifests []descriptor }
	decode(t, blobs["index.json"], &index)
	if got := index.Manifests[0].Annotations["io.containerd.image.name"]; got != o.Reference {
		t.Errorf("name %q", got)
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	decode(t, blob(t, blobs, index.Manifests[0]), &manifest)
	var config struct {
		Config struct {
			User, WorkingDir string
			Entrypoint, Env  []string
			Labels           map[string]string
		}
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	decode(t, blob(t, blobs, manifest.Config), &config)
	if c := config.Config; c.User != "65532" || c.WorkingDir != "/" || c.Labels["a"] != "b" || !slices.Contains(c.Env, "X=y") || c.Entrypoint[0] != "/bin/program" {
		t.Errorf("configuration %+v", c)
	}
	if config.Rootfs.DiffIDs[0] != manifest.Layers[0].Digest {
		t.Error("an uncompressed layer's own digest is its content's")
	}
	layer := entries(t, blob(t, blobs, manifest.Layers[0]))
	for _, want := range []string{"tmp/", "bin/program", "etc/deep/setting"} {
		if _, ok := layer[want]; !ok {
			t.Errorf("no %s in the layer", want)
		}
	}
	libc := slices.ContainsFunc(keys(layer), func(name string) bool { return strings.Contains(name, "/libc.so") })
	if !libc {
		t.Errorf("no C library among %v", keys(layer))
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for what, change := range map[string]func(*Options){
		"no tag":                   func(o *Options) { o.Reference = "doppel.test/x" },
		"a port and no tag":        func(o *Options) { o.Reference = "host:5000/x" },
		"the tag latest":           func(o *Options) { o.Reference = "doppel.test/x:latest" },
		"an entry point not there": func(o *Options) { o.Entrypoint = "/bin/other" },
		"a relative path":          func(o *Options) { o.Files["etc/x"] = "/etc/hostname" },
		"a path that climbs":       func(o *Options) { o.Files["/etc/../x"] = "/etc/hostname" },
		"a file not there":         func(o *Options) { o.Files["/x"] = "/nonexistent" },
	} {
		o := example(t)
		change(&o)
		if err := Write(io.Discard, o); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestAMissingLibraryIsNamed(t *testing.T) {
	_, err := parseLdd("\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\tlibgone.so.1 => not found\n")
	if err == nil || !strings.Contains(err.Error(), "libgone.so.1") {
		t.Errorf("error %v", err)
	}
}

func TestLddIsReadInAllItsForms(t *testing.T) {
	got, err := parseLdd("\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n")
	if want := []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, error %v", got, err)
	}
}

type descriptor struct {
	Digest      string
	Size        int
	Annotations map[string]string
}

// example packs a dynamically linked program of every Debian and a text.
func example(t *testing.T) Options {
	setting := filepath.Join(t.TempDir(), "setting")
	if err := os.WriteFile(setting, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{
		Reference: "doppel.test/example:1", Entrypoint: "/bin/program",
		Files: map[string]string{"/bin/program": "/bin/bash", "/etc/deep/setting": setting},
		User:  "65532", Workdir: "/", Env: []string{"X=y"}, Labels: map[string]string{"a": "b"},
	}
}

func pack(t *testing.T, o Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func entries(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = data
	}
}

func blob(t *testing.T, blobs map[string][]byte, d descriptor) []byte {
	t.Helper()
	data := blobs["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
	if digest(data) != d.Digest || len(data) != d.Size {
		t.Fatalf("blob %s of %d bytes is %s of %d", d.Digest, d.Size, digest(data), len(data))
	}
	return data
}

func decode(t *testing.T, data []byte, out any) {
	t.Helper()
	if err := json.Unmarshal(data, out); err != nil {
		t.Fatal(err)
	}
}

func keys(m map[string][]byte) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}
