module doppel/movers/mover/tests/diskrsync

go 1.26.0

require (
	github.com/dop251/diskrsync v1.3.0
	github.com/dop251/spgz v1.2.1
)

require (
	golang.org/x/crypto v0.0.0-20220312131142-6068a2e6cfdc // indirect
	golang.org/x/sys v0.0.0-20220715151400-c0bba94af5f8 // indirect
)
