package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// bootModules is what the guest needs to reach its root; everything else is
// loaded from there by modprobe, or by the kernel itself.
var bootModules = []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"}

// modules knows one kernel's modules: where each is and what it needs.
type modules struct {
	path    map[string]string   // by name, relative to the modules directory
	needs   map[string][]string // by name, as paths
	builtin map[string]bool
}

// moduleName turns kernel/fs/9p/9p.ko.xz into 9p, and - into _ as kmod does.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// readModules reads modules.dep and modules.builtin of a modules directory.
func readModules(dir string) (*modules, error) {
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	return parseModules(string(dep), string(builtin))
}

func parseModules(dep, builtin string) (*modules, error) {
	m := &modules{path: map[string]string{}, needs: map[string][]string{}, builtin: map[string]bool{}}
	for line := range lines(dep) {
		path, needs, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("modules.dep: no colon in %q", line)
		}
		name := moduleName(path)
		m.path[name] = path
		m.needs[name] = strings.Fields(needs)
	}
	for line := range lines(builtin) {
		m.builtin[moduleName(line)] = true
	}
	return m, nil
}

// order returns the paths of the named modules and of all they need, each
// once and after its needs. What is built in needs no loading.
func (m *modules) order(names []string) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		if seen[name] || m.builtin[name] {
			return nil
		}
		seen[name] = true
		path, ok := m.path[name]
		if !ok {
			return fmt.Errorf("module %s: %w", name, os.ErrNotExist)
		}
		for _, need := range m.needs[name] {
			if err := add(need); err != nil {
				return err
			}
		}
		out = append(out, path)
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lines yields the lines of s that are not blank.
func lines(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		sc := bufio.NewScanner(strings.NewReader(s))
		for sc.Scan() {
			if line := strings.TrimSpace(sc.Text()); line != "" && !yield(line) {
				return
			}
		}
	}
}
