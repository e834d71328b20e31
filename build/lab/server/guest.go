// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

func init() {
	modes["guest"] = guest
}

// order is what the laboratory asks of a machine: run a program and tell its end and its output,
// or, with a name, start it and tell what it prints while it prints it.
type order struct {
	ID      int      `json:"id"`
	Name    string   `json:"name"`
	Argv    []string `json:"argv"`
	Env     []string `json:"env"`
	Stdin   string   `json:"stdin"`
	Seconds float64  `json:"seconds"`
}

// port is the machine's line to the laboratory.
type port struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *port) tell(event map[string]any) {
	line := must(json.Marshal(event))
	p.mu.Lock()
	defer p.mu.Unlock()
	must(p.w.Write(append(line, '\n')))
}

// status is the exit status as a shell tells it: 128 and the signal's number for a killed program.
func status(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return 127
		}
		return 0
	}
	if state := exit.Sys().(syscall.WaitStatus); state.Signaled() {
		return 128 + int(state.Signal())
	}
	return exit.ExitCode()
}

func (p *port) command(o order) *exec.Cmd {
	program := exec.Command(o.Argv[0], o.Argv[1:]...)
	program.Env = o.Env
	program.Dir = "/"
	program.Stdin = strings.NewReader(o.Stdin)
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return program
}

// call runs a program to its end. Late means killed, with its whole process group, and no code.
func (p *port) call(o order) {
	var out bytes.Buffer
	program := p.command(o)
	program.Stdout, program.Stderr = &out, &out
	// What a killed program's children keep open is not waited for.
	program.WaitDelay = time.Second
	if err := program.Start(); err != nil {
		p.tell(map[string]any{"id": o.ID, "code": 127, "output": err.Error()})
		return
	}
	late := false
	timer := time.AfterFunc(time.Duration(o.Seconds*float64(time.Second)), func() {
		late = true
		syscall.Kill(-program.Process.Pid, syscall.SIGKILL)
	})
	err := program.Wait()
	event := map[string]any{"id": o.ID, "output": out.String()}
	if timer.Stop(); !late {
		event["code"] = status(err)
	}
	p.tell(event)
}

// start runs a program whose output the laboratory follows.
func (p *port) start(o order) {
	program := p.command(o)
	output := must(program.StdoutPipe())
	program.Stderr = program.Stdout
	if err := program.Start(); err != nil {
		p.tell(map[string]any{"event": "end", "name": o.Name, "code": 127, "text": err.Error()})
		return
	}
	p.tell(map[string]any{"event": "start", "name": o.Name, "pid": program.Process.Pid})
	lines := bufio.NewReader(output)
	for {
		text, err := lines.ReadString('\n')
		if text != "" {
			p.tell(map[string]any{"event": "out", "name": o.Name, "text": text})
		}
		if err != nil {
			break
		}
	}
	p.tell(map[string]any{"event": "end", "name": o.Name, "code": status(program.Wait())})
}

// guest obeys orders that come by a virtio port, each of which is a line of JSON.
func guest([]string) {
	names := must(filepath.Glob("/dev/vport*"))
	if len(names) != 1 {
		log.Fatalf("wanted one port, found %q", names)
	}
	file := must(os.OpenFile(names[0], os.O_RDWR, 0))
	line := &port{w: file}
	line.tell(map[string]any{"event": "ready"})
	lines := bufio.NewReader(file)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			log.Fatal(err)
		}
		var o order
		if err := json.Unmarshal(text, &o); err != nil || len(o.Argv) == 0 {
			line.tell(map[string]any{"event": "fault", "line": string(text)})
			continue
		}
		if o.Name == "" {
			go line.call(o)
			continue
		}
		go line.start(o)
	}
}
