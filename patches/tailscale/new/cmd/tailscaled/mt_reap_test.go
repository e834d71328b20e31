// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build linux && !mt_omit_reap

package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Hundreds of own children and as many orphans at once: no child may be taken from os/exec, no
// orphan may stay.
func TestMTReaperUnderLoad(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	reaper := mtReaper{self: os.Getpid(), patience: 20 * time.Millisecond, seen: map[int]time.Time{}}
	done := make(chan bool)
	go func() {
		for {
			select {
			case <-done:
				return
			default:
				reaper.pass(time.Now())
			}
		}
	}()
	var all sync.WaitGroup
	for worker := range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for round := range 40 {
				code := (worker + round) % 3
				script := fmt.Sprintf("(sleep 0.05 &) ; (true &) ; exit %d", code)
				cmd := exec.Command("sh", "-c", script)
				err := cmd.Start()
				if round%10 == 0 {
					time.Sleep(150 * time.Millisecond) // late to wait: dead for long by then
				}
				if err == nil {
					err = cmd.Wait()
				}
				if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == code {
					err = nil
				}
				if err != nil {
					t.Errorf("a child of our own: %v", err)
				}
			}
		}()
	}
	all.Wait()
	for end := time.Now().Add(5 * time.Second); len(mtZombies(os.Getpid())) > 0; {
		if time.Now().After(end) {
			t.Fatalf("%d zombies stay", len(mtZombies(os.Getpid())))
		}
		time.Sleep(10 * time.Millisecond)
	}
	done <- true
}

// A child that nobody waits for yet stays: the control that the test above can see a theft.
func TestMTReaperLeavesOurs(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reaper := mtReaper{self: os.Getpid(), patience: 0, seen: map[int]time.Time{}}
	for range 20 {
		time.Sleep(10 * time.Millisecond)
		reaper.pass(time.Now())
	}
	if len(mtZombies(os.Getpid())) != 1 {
		t.Error("the child is no zombie: this proves nothing")
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
