// Package image packs files into an OCI image archive (image-spec 1.1, image layout
// in a tar file) without a container engine. The same files give the same bytes.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"
)

// Options say what goes into the image and how it runs.
type Options struct {
	Reference  string            // NAME:TAG; the kubelet would try to pull a tag "latest"
	Entrypoint string            // path inside the image
	Files      map[string]string // path inside the image to path here
	User       string            // UID or UID:GID; "" is root
	Workdir    string
	Env        []string
	Labels     map[string]string
}

// searchPath is the PATH in an image, unless Env has one.
const searchPath = "PATH=/usr/local/bin:/usr/bin:/bin"

// Write writes the archive. Each program brings the shared libraries it needs.
func Write(out io.Writer, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	files, err := withLibraries(o.Files)
	if err != nil {
		return err
	}
	layer, err := layer(files)
	if err != nil {
		return err
	}
	config, err := json.Marshal(o.config(digest(layer)))
	if err != nil {
		return err
	}
	const prefix = "application/vnd.oci.image."
	manifest, err := json.Marshal(object{
		"schemaVersion": 2,
		"mediaType":     prefix + "manifest.v1+json",
		"config":        object{"mediaType": prefix + "config.v1+json", "digest": digest(config), "size": len(config)},
		"layers":        []object{{"mediaType": prefix + "layer.v1.tar", "digest": digest(layer), "size": len(layer)}},
	})
	if err != nil {
		return err
	}
	index, err := json.Marshal(object{
		"schemaVersion": 2,
		"mediaType":     prefix + "index.v1+json",
		"manifests": []object{{
			"mediaType": prefix + "manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
			"annotations": object{
				"io.containerd.image.name":          o.Reference,
				"org.opencontainers.image.ref.name": o.Reference[strings.LastIndex(o.Reference, ":")+1:],
			},
		}},
	})
	if err != nil {
		return err
	}
	archive := tar.NewWriter(out)
	add(archive, "oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	add(archive, "index.json", index)
	for _, blob := range [][]byte{config, manifest, layer} {
		add(archive, "blobs/sha256/"+strings.TrimPrefix(digest(blob), "sha256:"), blob)
	}
	return archive.Close()
}

// WriteFile writes the archive to a file, which appears only when it is complete.
func WriteFile(path string, o Options) error {
	part := path + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	if err := errors.Join(Write(f, o), f.Close()); err != nil {
		_ = os.Remove(part)
		return err
	}
	return os.Rename(part, path)
}

type object map[string]any

func (o Options) check() error {
	name, tag, ok := cutLast(o.Reference, ":")
	if !ok || name == "" || tag == "" || strings.Contains(tag, "/") {
		return fmt.Errorf("image reference %q: want NAME:TAG", o.Reference)
	}
	if tag == "latest" {
		return fmt.Errorf("image reference %q: the kubelet pulls the tag latest; use another", o.Reference)
	}
	if len(o.Files) == 0 {
		return fmt.Errorf("image %s has no files", o.Reference)
	}
	for inside := range o.Files {
		if !path.IsAbs(inside) || path.Clean(inside) != inside || inside == "/" {
			return fmt.Errorf("image %s: %q is not a clean absolute path", o.Reference, inside)
		}
	}
	if _, ok := o.Files[o.Entrypoint]; !ok {
		return fmt.Errorf("image %s: the entry point %s is not among its files", o.Reference, o.Entrypoint)
	}
	return nil
}

func (o Options) config(layer string) object {
	run := object{"Entrypoint": []string{o.Entrypoint}, "Env": append([]string{searchPath}, o.Env...)}
	if o.User != "" {
		run["User"] = o.User
	}
	if o.Workdir != "" {
		run["WorkingDir"] = o.Workdir
	}
	if len(o.Labels) > 0 {
		run["Labels"] = o.Labels
	}
	return object{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       run,
		"rootfs":       object{"type": "layers", "diff_ids": []string{layer}},
	}
}

// layer is a tar of the files, sorted, owned by root, of no date.
func layer(files map[string]string) ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	directories := map[string]bool{"": true, "tmp": true}
	directory(archive, "tmp", 0o1777)
	for _, inside := range sorted(files) {
		name := strings.TrimPrefix(inside, "/")
		for i, c := range name {
			if parent := name[:i]; c == '/' && !directories[parent] {
				directories[parent] = true
				directory(archive, parent, 0o755)
			}
		}
		data, err := os.ReadFile(files[inside])
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(files[inside])
		if err != nil {
			return nil, err
		}
		mode := int64(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		addMode(archive, name, data, mode)
	}
	return buffer.Bytes(), archive.Close()
}

func directory(archive *tar.Writer, name string, mode int64) {
	_ = archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Format: tar.FormatPAX})
}

func add(archive *tar.Writer, name string, data []byte) { addMode(archive, name, data, 0o644) }

// addMode leaves errors to the writer, which repeats the first one when it is closed.
func addMode(archive *tar.Writer, name string, data []byte, mode int64) {
	if archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), Format: tar.FormatPAX}) == nil {
		_, _ = archive.Write(data)
	}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
