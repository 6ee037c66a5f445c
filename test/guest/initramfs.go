package main

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Where things are in the initramfs.
const (
	initModules = "/modules.order" // the modules to load, one path a line, in order
	initTask    = "/task.json"
)

// writeInitramfs makes the initramfs of one run: this very binary as /init,
// the modules that reach the root file system, and the task.
func writeInitramfs(name string, k kernel, t task) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := mustBeStatic(self); err != nil {
		return err
	}
	mods, err := readModules(k.modules())
	if err != nil {
		return err
	}
	order, err := mods.order(bootModules)
	if err != nil {
		return err
	}
	spec, err := json.Marshal(t)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close() // a second close after the one that counts
	buf := bufio.NewWriterSize(f, 1<<20)
	c := &cpioWriter{w: buf}
	c.dir("dev")
	c.char("dev/console", 5, 1)
	c.char("dev/null", 1, 3)
	c.dir("proc")
	c.dir("sys")
	c.dir("host")
	c.dir("rw")
	c.dir("root")
	c.dir("modules")
	for i, rel := range order {
		data, err := os.ReadFile(filepath.Join(k.modules(), rel))
		if err != nil {
			return err
		}
		order[i] = path.Join("/modules", path.Base(rel))
		c.file(order[i][1:], 0o644, data)
	}
	c.file(initModules[1:], 0o644, []byte(strings.Join(order, "\n")))
	c.file(initTask[1:], 0o644, spec)
	binary, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	c.file("init", 0o755, binary)
	if err := c.close(); err != nil {
		return err
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// mustBeStatic refuses a binary that could not run where no libraries are.
func mustBeStatic(name string) error {
	f, err := elf.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically and cannot be /init: build it with CGO_ENABLED=0", name)
		}
	}
	return nil
}
