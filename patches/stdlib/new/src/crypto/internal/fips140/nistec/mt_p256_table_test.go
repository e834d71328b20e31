package nistec

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"
	"unsafe"
)

// TestTheTableIsUpstreams compares the computed table with the sum of the one
// in Go's own p256_table.go, which `nox -s slow` reads from the toolchain.
func TestTheTableIsUpstreams(t *testing.T) {
	if p256PrecomputedEmbed != [len(p256PrecomputedEmbed)]uint64{} {
		t.Fatal("the table is filled before anybody asked for it")
	}
	start := time.Now()
	p256FillTable()
	fmt.Printf("first use: %s\n", time.Since(start))
	fmt.Printf("table: %x\n", sha256.Sum256((*[88064]byte)(unsafe.Pointer(&p256PrecomputedEmbed))[:]))
}
