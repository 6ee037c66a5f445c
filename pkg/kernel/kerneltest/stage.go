package kerneltest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// Stage is what a test makes of a kernel's calls, and what it may look up.
type Stage struct{ k *Kernel }

// Fail makes the next call of op fail with err; further calls of Fail queue up.
func (st Stage) Fail(op Op, err error) {
	k := st.k
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail[op] = append(k.fail[op], err)
}

// Hold makes calls of op wait, as if they slept in the kernel, until release is called.
func (st Stage) Hold(op Op) (release func()) {
	k := st.k
	k.mu.Lock()
	defer k.mu.Unlock()
	gate := make(chan struct{})
	k.hold[op] = gate
	return sync.OnceFunc(func() {
		k.mu.Lock()
		if k.hold[op] == gate {
			delete(k.hold, op)
		}
		k.mu.Unlock()
		close(gate)
	})
}

// Calls gives what was called so far, in order, as "create session 1/2": for tests of what happens before what. Send, Stats and Idle are left
// out.
func (st Stage) Calls() []string {
	k := st.k
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.calls)
}

// Waiting names the interfaces that wait for sessions, by what their names are made of.
func (st Stage) Waiting(pattern string) []string {
	st.k.mu.Lock()
	defer st.k.mu.Unlock()
	return st.k.waitingOf(pattern)
}

// PPPoE gives an open session for the test to act on, or nil.
func (st Stage) PPPoE(spec kernel.PPPoESpec) *Session { return st.access(pppoeName(spec)) }

// Line gives the open session of a tty for the test to act on, or nil.
func (st Stage) Line(tty string) *Session { return st.access(tty) }

func (st Stage) access(name string) *Session {
	st.k.mu.Lock()
	defer st.k.mu.Unlock()
	return st.k.sessions[key{access: name}]
}

// Down sets an Ethernet interface down, which is the end of the PPPoE sessions on it; no others can be opened until Up. All are up at
// first.
func (st Stage) Down(name string) {
	k := st.k
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down[name] = true
	for _, s := range k.sessions {
		if s.pppoe.Interface == name {
			s.die()
		}
	}
}

// Up sets an Ethernet interface up again.
func (st Stage) Up(name string) {
	st.k.mu.Lock()
	defer st.k.mu.Unlock()
	delete(st.k.down, name)
}

// pppoeName names a session by all that makes it unique.
func pppoeName(spec kernel.PPPoESpec) string {
	return fmt.Sprintf("%s/%x/%d", spec.Interface, spec.Peer, spec.SessionID)
}
