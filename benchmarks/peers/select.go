package main

import (
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// library finds the TLS library in what nginx and HAProxy say about themselves. The one
// that they run with is what counts; nginx names it only where it is not the one that it
// was built with.
var library = []*regexp.Regexp{
	regexp.MustCompile(`running with ([^)\n]+)`),
	regexp.MustCompile(`Running on OpenSSL version : ([^\n]+)`),
	regexp.MustCompile(`built with (\S*SSL[^(\n]*)`),
}

// versionIn reads a version out of what a program says.
func versionIn(said string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	for _, prefix := range []string{"nginx version: nginx/", "HAProxy version ", "ghostunnel "} {
		line = strings.TrimPrefix(line, prefix)
	}
	for _, l := range library {
		if found := l.FindStringSubmatch(said); found != nil {
			return line + ", " + strings.TrimSpace(found[1])
		}
	}
	return line
}

// install says where a peer comes from.
var install = map[string]string{
	"nginx":      "./.ci/setup or apt-get install nginx-light",
	"haproxy":    "./.ci/setup or apt-get install haproxy",
	"caddy":      "make bench-peers builds it; or -caddy PATH",
	"ghostunnel": "-ghostunnel PATH",
}

// choose returns who is measured, the gateway first, and says who is missing. A peer
// that the user asked for by name and that is not there is an error.
func choose(o options) (chosen []*peer, missing []string, err error) {
	for _, p := range candidates(o) {
		asked := slices.Contains(o.peers, p.name)
		if len(o.peers) > 0 && !asked && !brought(o, p.name) {
			continue
		}
		path, err := exec.LookPath(cmp.Or(p.path, p.name))
		if err == nil {
			path, err = filepath.Abs(path) // configurations are started from other folders
		}
		if err != nil {
			gone := fmt.Sprintf("%s is not measured: %v; %s", p.name, err, cmp.Or(install[p.name], "look at its path"))
			if asked || p.path != "" {
				return nil, nil, errors.New(gone)
			}
			missing = append(missing, gone)
			continue
		}
		p.path = path
		p.version = versionOf(p)
		chosen = append(chosen, p)
	}
	for _, name := range o.peers {
		if !slices.ContainsFunc(chosen, func(p *peer) bool { return p.name == name }) {
			return nil, nil, fmt.Errorf("-peers: nobody knows %q; there are verigate, nginx, haproxy, caddy, ghostunnel, and those of -peer and -variant", name)
		}
	}
	if len(chosen) == 0 {
		return nil, nil, errors.New("-peers: nobody is left to be measured")
	}
	return chosen, missing, nil
}

// brought reports whether the user brought the peer with a flag of its own, which is
// as good as naming it.
func brought(o options, name string) bool {
	return slices.ContainsFunc(slices.Concat(o.scripts, o.variants), func(n named) bool { return n.name == name })
}

// candidates are the known peers, with the paths that the user gave, and what the
// user brings.
func candidates(o options) []*peer {
	var all []*peer
	for _, k := range known {
		p := *k
		p.path = o.paths[p.name]
		all = append(all, &p)
		if p.name != "verigate" {
			continue
		}
		for _, v := range o.variants {
			other := p
			other.name, other.path, other.settings = v.name, v.path, "another build of the gateway, with the same configuration"
			all = append(all, &other)
		}
	}
	for _, s := range o.scripts {
		all = append(all, &peer{name: s.name, path: s.path, settings: "brought by the user", configure: script, log: "output.log"})
	}
	return all
}

// versionOf asks a program for its version, if it is known how to: a script of the user
// is not run for that.
func versionOf(p *peer) string {
	if p.versionFlag != "" {
		out, err := run(p.path, p.versionFlag)
		if err != nil {
			return "unknown"
		}
		return versionIn(out)
	}
	built, err := buildinfo.ReadFile(p.path)
	if err != nil {
		return "unknown" // a script, perhaps
	}
	for _, s := range built.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 7 {
			return s.Value[:7] + " " + built.GoVersion
		}
	}
	return strings.TrimSpace(built.Main.Version + " " + built.GoVersion)
}
