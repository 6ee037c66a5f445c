package kerneltest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// face is an interface and what its name was made of.
type face struct {
	kernel.Unit
	pattern string
}

// lend gives an interface: the longest idle one whose name was made of pattern, else a new one; mu is held.
func lend(k *Kernel, pattern string) (face, error) {
	if i := slices.IndexFunc(k.waiting, func(u face) bool { return u.pattern == pattern }); i >= 0 {
		u := k.waiting[i]
		k.waiting = slices.Delete(k.waiting, i, i+1)
		return u, nil
	}
	return create(k, pattern)
}

// create makes an interface; mu is held.
func create(k *Kernel, pattern string) (face, error) {
	// An idle one gives its name up to whoever wants that as it is.
	k.waiting = slices.DeleteFunc(k.waiting, func(u face) bool { return u.Name == pattern })
	units, names := make(map[int]bool), make(map[string]bool)
	for _, u := range k.waiting {
		units[u.Unit.Unit], names[u.Name] = true, true
	}
	for _, s := range k.sessions {
		if s.attached {
			units[s.unit.Unit.Unit], names[s.unit.Name] = true, true
		}
	}
	if names[pattern] {
		return face{}, unix.EEXIST
	}
	u := face{kernel.Unit{Name: pattern, Index: k.nextIndex}, pattern}
	for units[u.Unit.Unit] || pattern == "" && names[fmt.Sprintf("ppp%d", u.Unit.Unit)] {
		u.Unit.Unit++
	}
	switch {
	case pattern == "":
		u.Name = fmt.Sprintf("ppp%d", u.Unit.Unit)
	case strings.Contains(pattern, "%d"):
		for n := 0; u.Name == pattern || names[u.Name]; n++ {
			u.Name = strings.Replace(pattern, "%d", strconv.Itoa(n), 1)
		}
	}
	k.nextIndex++
	return u, nil
}

// giveBack lets an interface wait, unless its name is one that vanishes with the session; mu is held.
func giveBack(k *Kernel, u face) {
	if u.pattern != "" && !strings.Contains(u.pattern, "%d") || k.cfg.Units < 0 {
		return
	}
	if len(k.waiting) >= k.cfg.Units {
		i := slices.IndexFunc(k.waiting, func(other face) bool { return other.pattern != u.pattern })
		if i < 0 {
			return
		}
		k.waiting = slices.Delete(k.waiting, i, i+1)
	}
	k.waiting = append(k.waiting, u)
}

// Stock makes the interfaces that are missing, and at once.
func (k *Kernel) Stock(goals map[string]int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for pattern, n := range goals {
		for range n - len(k.waitingOf(pattern)) {
			u, err := create(k, pattern)
			if err != nil {
				panic(err) // names that are patterns can always be made
			}
			k.waiting = append(k.waiting, u)
		}
	}
}

// waitingOf needs mu.
func (k *Kernel) waitingOf(pattern string) (names []string) {
	for _, u := range k.waiting {
		if u.pattern == pattern {
			names = append(names, u.Name)
		}
	}
	return names
}
