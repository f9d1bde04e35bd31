// Command diskrsync is diskrsync 1.3 over TCP, as VolSync runs it: a peer for the tests of
// block devices. It opens a device or a file, speaks to one peer, and ends.
//
//	diskrsync --source --address HOST:PORT DEVICE
//	diskrsync --target --address HOST:PORT --control-file FILE DEVICE
//
// The target accepts one connection, and makes the control file when that one succeeded.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/dop251/diskrsync"
	"github.com/dop251/spgz"
)

func main() {
	source := flag.Bool("source", false, "send the device")
	target := flag.Bool("target", false, "receive into the device")
	address := flag.String("address", "", "where to connect to, or to listen")
	control := flag.String("control-file", "", "made when all was received")
	flag.Parse()
	var err error
	switch {
	case *source == *target || flag.NArg() != 1:
		err = errors.New("usage: diskrsync --source|--target --address HOST:PORT [--control-file FILE] DEVICE")
	case *source:
		err = send(*address, flag.Arg(0))
	default:
		err = receive(*address, flag.Arg(0), *control)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "diskrsync:", err)
		os.Exit(1)
	}
}

func send(address, device string) error {
	file, err := os.Open(device)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := length(file)
	if err != nil {
		return err
	}
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	err = diskrsync.Source(file, size, connection, connection, true, true, nil, nil)
	return errors.Join(err, connection.Close())
}

// raw is written as a device is: no compressed image, no holes, and its size stays unless
// it is a file.
type raw struct {
	spgz.SparseFile
	isDevice bool
}

func (r raw) Truncate(size int64) error {
	if r.isDevice {
		return nil
	}
	return r.SparseFile.Truncate(size)
}

func open(device string) (raw, error) {
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return raw{}, err
	}
	info, err := file.Stat()
	if err != nil {
		return raw{}, err
	}
	return raw{spgz.NewSparseFileWithoutHolePunching(file), info.Mode()&os.ModeDevice != 0}, nil
}

func receive(address, device, control string) error {
	file, err := open(device)
	if err != nil {
		return err
	}
	size, err := length(file)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	// A test must not try the port: the first connection is the only one.
	fmt.Fprintln(os.Stderr, "listening")
	connection, err := listener.Accept()
	if err != nil {
		return err
	}
	if err := listener.Close(); err != nil {
		return err
	}
	err = diskrsync.Target(file, size, connection, connection, true, true, nil, nil)
	if err := errors.Join(err, file.Close(), connection.Close()); err != nil {
		return err
	}
	return os.WriteFile(control, nil, 0o644)
}

func length(file io.Seeker) (int64, error) {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	_, err = file.Seek(0, io.SeekStart)
	return size, err
}
