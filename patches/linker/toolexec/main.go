// Toolexec stands between the go command and the tools it starts, and puts
// another linker in the place of cmd/link:
//
//	go build -toolexec "toolexec /path/to/link" ...
//
// The go command keeps the results of a link in its cache under a key that
// holds what "link -V=full" prints. A patched linker of a released Go prints
// what the stock one prints, so both would share entries and the cache would
// hand out the wrong binary. Hence the digest of the linker, added here.
// The path of the linker is in no key: builds stay independent of where they
// happen.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: toolexec LINKER TOOL [ARG...]")
		os.Exit(2)
	}
	linker, tool, args := os.Args[1], os.Args[2], os.Args[3:]
	isLink := strings.TrimSuffix(filepath.Base(tool), ".exe") == "link"
	if isLink {
		tool = linker
	}
	cmd := exec.Command(tool, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr

	if isLink && len(args) == 1 && args[0] == "-V=full" {
		image, err := os.ReadFile(linker)
		if err != nil {
			fail(err)
		}
		var line bytes.Buffer
		cmd.Stdout = &line
		if err := cmd.Run(); err != nil {
			fail(err)
		}
		fmt.Printf("%s sha256:%x\n", bytes.TrimSpace(line.Bytes()), sha256.Sum256(image))
		return
	}

	if err := cmd.Run(); err != nil {
		fail(err)
	}
}

// fail ends with the status of the tool, if it is the tool that failed.
func fail(err error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "toolexec:", err)
	os.Exit(1)
}
