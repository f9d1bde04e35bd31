package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"doppel/tests/cluster/storage/internal/btrfs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// store is the file system and what is recorded in it: DIR/ID is the subvolume,
// records/DIR/ID.json what was said when it was made. A subvolume without a record is
// what a crash left, and is made anew.
type store struct {
	root string
	mu   sync.Mutex // one change at a time: two calls for one name must not meet
}

type kind string

const (
	volumes   kind = "volumes"
	snapshots kind = "snapshots"
)

// record is what the file system does not say of a volume or snapshot.
type record struct {
	Size    int64     `json:"size"` // bytes of the volume, or of the snapshot's volume
	Block   bool      `json:"block"`
	Source  string    `json:"source,omitempty"` // of a snapshot: its volume
	Created time.Time `json:"created"`
}

// blockFile is the content of a block volume, in its subvolume.
const blockFile = "disk.img"

func newStore(root string) (*store, error) {
	s := &store{root: root}
	for _, k := range []kind{volumes, snapshots} {
		for _, dir := range []string{filepath.Join(root, string(k)), filepath.Join(root, "records", string(k))} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// path refuses names that are not one path component: they come from API objects.
func (s *store) path(k kind, id string) (string, error) {
	if id == "" || id == "." || id == ".." || strings.ContainsAny(id, "/\x00") {
		return "", status.Errorf(codes.InvalidArgument, "%q is no name of one of the %s", id, k)
	}
	return filepath.Join(s.root, string(k), id), nil
}

func (s *store) recordPath(k kind, id string) string {
	return filepath.Join(s.root, "records", string(k), id+".json")
}

// get reads a record; without one the status is NotFound.
func (s *store) get(k kind, id string) (record, error) {
	var r record
	if _, err := s.path(k, id); err != nil {
		return r, err
	}
	data, err := os.ReadFile(s.recordPath(k, id))
	if errors.Is(err, fs.ErrNotExist) {
		return r, status.Errorf(codes.NotFound, "there is no %s among the %s", id, k)
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	return r, err
}

// create makes one unless it is there, by the function, and records it.
func (s *store) create(k kind, id string, r record, fill func(path string) error) (record, error) {
	path, err := s.path(k, id)
	if err != nil {
		return record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, err := s.get(k, id); err == nil {
		if old.Size != r.Size || old.Block != r.Block || old.Source != r.Source {
			return record{}, status.Errorf(codes.AlreadyExists, "%s exists with other properties", id)
		}
		return old, nil
	}
	if err := btrfs.Delete(path); err != nil {
		return record{}, err
	}
	if err := fill(path); err != nil {
		return record{}, err
	}
	r.Created = time.Now()
	data, err := json.Marshal(r)
	if err != nil {
		return record{}, err
	}
	return r, os.WriteFile(s.recordPath(k, id), data, 0o644)
}

// remove removes one; none is no error.
func (s *store) remove(k kind, id string) error {
	path, err := s.path(k, id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(s.recordPath(k, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return btrfs.Delete(path)
}

// makeVolume fills a new volume: empty, or with the content of a volume or snapshot.
func makeVolume(path, source string, r record) error {
	if source != "" {
		if err := btrfs.Snapshot(source, path, btrfs.Writable); err != nil {
			return err
		}
	} else if err := btrfs.Create(path); err != nil {
		return err
	} else if err := os.Chmod(path, 0o777); err != nil {
		return err
	}
	if !r.Block {
		return btrfs.Limit(path, r.Size)
	}
	file := filepath.Join(path, blockFile)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > r.Size {
		return fmt.Errorf("%s has %d bytes already", file, info.Size())
	}
	return f.Truncate(r.Size)
}
