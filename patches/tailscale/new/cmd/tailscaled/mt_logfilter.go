// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build ts_omit_logtail && !mt_omit_logfilter

package main

import (
	"bytes"
	"io"
	"log"
	"os"
	"strconv"
)

// Tailscale marks a log message's verbosity inside its text and lets logtail act on the mark. With
// logtail compiled out nobody does, and a busy router's log fills with packet notices. This file
// puts the default back: marked messages are dropped unless TS_LOG_VERBOSITY is 1 or more, the
// variable that tailscaled itself takes for its --verbose flag.
//
// The marks are those of logtail's parseAndRemoveLogLevel: "[v1] " and so on anywhere in the text,
// and "[v\x00JSON]" with one digit before a JSON value meant for machines.

var mtVerboseMarks = [][]byte{[]byte("[v1]"), []byte("[v2]"), []byte("[v3]")}

var mtJSONMark = []byte("[v\x00JSON]")

// mtIsVerbose reports whether a message carries a verbosity mark.
func mtIsVerbose(message []byte) bool {
	if !bytes.Contains(message, []byte("[v")) {
		return false
	}
	for _, mark := range mtVerboseMarks {
		if bytes.Contains(message, mark) {
			return true
		}
	}
	_, after, found := bytes.Cut(message, mtJSONMark)
	return found && len(after) > 0 && '0' <= after[0] && after[0] <= '9'
}

// mtLogFilter passes on messages without a mark. The log package calls Write once per message.
type mtLogFilter struct{ out io.Writer }

func (f mtLogFilter) Write(message []byte) (int, error) {
	if mtIsVerbose(message) {
		return len(message), nil
	}
	return f.out.Write(message)
}

// mtFiltered returns out behind the filter, or out itself where verbosity asks for all messages.
func mtFiltered(out io.Writer, verbosity string) io.Writer {
	if level, err := strconv.Atoi(verbosity); err == nil && level >= 1 {
		return out
	}
	return mtLogFilter{out}
}

func init() {
	log.SetOutput(mtFiltered(os.Stderr, os.Getenv("TS_LOG_VERBOSITY")))
}
