// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build ts_include_cli && !mt_omit_cli

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"tailscale.com/cmd/tailscale/cli"
	"tailscale.com/feature/buildfeatures"
)

// The command line offers much that this build leaves out: settings that would be kept and never
// obeyed, and commands whose answer is "404 page not found". They are refused with a sentence.
//
// This file sorts behind with_cli.go, and so its init runs later.

func init() {
	beCLI = func() { mtCLI(os.Args[1:]) }
	for name := range subCommands {
		if len(os.Args) > 1 && os.Args[1] == name && !shouldRunCLI() && *subCommands[name] == nil {
			mtRefuse("tailscaled " + name + ": there is nothing to install in a container; the image's entrypoint starts the daemon")
		}
	}
}

func mtRefuse(sentence string) {
	fmt.Fprintln(os.Stderr, sentence)
	os.Exit(1)
}

func mtCLI(args []string) {
	if sentence := mtRefusal(args); sentence != "" {
		mtRefuse(sentence)
	}
	cli.Fatalf = func(format string, more ...any) {
		mtRefuse(mtExplained(args, strings.TrimSuffix(fmt.Sprintf(format, more...), "\n")))
	}
	defer func() {
		if what := recover(); what != nil {
			mtRefuse(mtLeftOut(args) + fmt.Sprintf(" (%v)", what))
		}
	}()
	if err := cli.Run(args); err != nil {
		mtRefuse(mtExplained(args, err.Error()))
	}
}

// mtExplained returns an error's text, or a sentence if the daemon does not know what was asked.
func mtExplained(args []string, text string) string {
	if strings.Contains(text, "404 page not found") || strings.Contains(text, "404 Not Found") {
		return mtLeftOut(args)
	}
	return text
}

func mtLeftOut(args []string) string {
	words := mtWords(args)
	if len(words) > 2 {
		words = words[:2]
	}
	return "tailscale " + strings.Join(words, " ") + ": this build leaves that out to be small"
}

// mtFlag is a setting that a build may not have: how it is switched off, and what to do instead.
type mtFlag struct {
	has     bool
	instead string
}

var mtFlags = map[string]mtFlag{
	"ssh":                           {buildfeatures.HasSSH, "RouterOS has an SSH server of its own"},
	"webclient":                     {buildfeatures.HasWebClient, "use tailscale set"},
	"advertise-connector":           {buildfeatures.HasAppConnectors, "app connectors are left out; announce networks with --advertise-routes"},
	"relay-server-port":             {buildfeatures.HasRelayServer, "peer relays are left out"},
	"relay-server-static-endpoints": {buildfeatures.HasRelayServer, "peer relays are left out"},
	"report-posture":                {buildfeatures.HasPosture, "device posture is left out"},
	"remote-config":                 {buildfeatures.HasRemoteConfig, "settings are made here, with tailscale set"},
	"auto-update":                   {buildfeatures.HasClientUpdate, "the router's script update-tailscale fetches new images"},
	"client-id":                     {buildfeatures.HasIdentityFederation, mtKeyAdvice},
	"client-secret":                 {buildfeatures.HasOAuthKey, mtKeyAdvice},
	"audience":                      {buildfeatures.HasIdentityFederation, mtKeyAdvice},
	"id-token":                      {buildfeatures.HasIdentityFederation, mtKeyAdvice},
}

const mtKeyAdvice = "make an auth key (tskey-auth-…) in the admin console and use --auth-key"

// mtCommands are commands that a build may not have, with what to do instead.
var mtCommands = map[string]mtFlag{
	"bugreport":  {buildfeatures.HasLogTail, "no logs are uploaded, so there is nothing to report; the log is in RouterOS' /log"},
	"cert":       {buildfeatures.HasACME, "certificates are RouterOS' own: /certificate"},
	"completion": {buildfeatures.HasCompletion, "the image's shell has no completion"},
	"drive":      {buildfeatures.HasDrive, "file sharing is left out"},
	"file":       {buildfeatures.HasTaildrop, "file sending is left out"},
	"funnel":     {buildfeatures.HasServe, "publishing services is left out"},
	"lock":       {buildfeatures.HasTailnetLock, "Tailnet Lock is left out: don't require its signatures of this node"},
	"metrics":    {buildfeatures.HasUserMetrics, "metrics are left out"},
	"nc":         {buildfeatures.HasOutboundProxy || buildfeatures.HasSSH, "the image's nc connects as well: nc HOST PORT"},
	"serve":      {buildfeatures.HasServe, "publishing services is left out"},
	"ssh":        {buildfeatures.HasSSH, "use RouterOS' own: /system/ssh"},
	"systray":    {false, "there is no desktop"},
	"update":     {buildfeatures.HasClientUpdate, "the router's script update-tailscale fetches new images"},
	"web":        {buildfeatures.HasWebClient, "use tailscale set"},

	"appc-routes": {buildfeatures.HasAppConnectors, "app connectors are left out"},
}

// mtWords returns a command line from its subcommand on.
func mtWords(args []string) []string {
	for i := 0; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		if !isFlag {
			return args[i:]
		}
		if strings.TrimPrefix(name, "-") == "socket" {
			i++ // its value
		}
	}
	return nil
}

// mtRefusal returns why a command line cannot be obeyed, "" if it may be.
func mtRefusal(args []string) string {
	words := mtWords(args)
	if len(words) == 0 {
		return ""
	}
	command, helps := words[0], false
	for _, word := range words[1:] {
		helps = helps || word == "-h" || word == "-help" || word == "--help"
	}
	if out, ok := mtCommands[command]; ok && !out.has {
		return fmt.Sprintf("tailscale %s: not in this build; %s", command, out.instead)
	}
	if helps || command != "set" && command != "up" && command != "login" {
		return ""
	}
	for i, word := range words[1:] {
		if !strings.HasPrefix(word, "-") {
			continue
		}
		name, value, given := strings.Cut(strings.TrimLeft(word, "-"), "=")
		next := ""
		if i+2 < len(words) {
			next = words[i+2]
		}
		if name == "auth-key" || name == "authkey" {
			if !given {
				value = next
			}
			if !buildfeatures.HasOAuthKey && mtIsOAuthSecret(value) {
				return "--auth-key: that is the secret of an OAuth client (tskey-client-…), which this build cannot exchange; " + mtKeyAdvice
			}
			continue
		}
		out, ok := mtFlags[name]
		if !ok || out.has {
			continue
		}
		switch name {
		case "ssh", "webclient", "advertise-connector", "report-posture", "remote-config", "auto-update":
			if on, err := strconv.ParseBool(value); given && err == nil && !on {
				continue // asks for what is so anyway
			}
		default:
			if !given {
				value = next
			}
			if value == "" {
				continue
			}
		}
		return fmt.Sprintf("--%s: not in this build; %s", name, out.instead)
	}
	return ""
}

// mtIsOAuthSecret reports whether the value of --auth-key, or the file that it names, is one.
func mtIsOAuthSecret(value string) bool {
	if path, ok := strings.CutPrefix(value, "file:"); ok {
		// What is read from a pipe is gone.
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return false
		}
		text, _ := os.ReadFile(path)
		value = strings.TrimSpace(string(text))
	}
	return strings.HasPrefix(value, "tskey-client-")
}
