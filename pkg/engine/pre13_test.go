package engine

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// withWindow adds a Receive Window Size AVP to every message of a type, as peers of the drafts before 13 do.
func withWindow(in wire.MessageType, window uint16) func([]byte) []byte {
	return func(d []byte) []byte {
		_, payload, err := wire.ParseHeader(d)
		if err != nil || len(payload) == 0 {
			return d
		}
		if m, err := wire.ParseMessage(payload); err != nil || m.Type != in {
			return d
		}
		d = append(d, 0x80, 8, 0, 0, 0, byte(wire.AVPReceiveWindowSize))
		d = binary.BigEndian.AppendUint16(d, window)
		binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
		return d
	}
}

// P283, P284, S68: with compat pre13, a session window of 0 has all data numbered; another is refused because the kernel knows no
// payload flow control, or ignored if the configuration says so. Without pre13 the AVP is ignored (P281).
func TestSessionWindowOfAnOldPeer(t *testing.T) {
	for name, tt := range map[string]struct {
		pre13, ignore bool
		window        uint16
		up, numbered  bool
	}{
		"window 0":               {pre13: true, window: 0, up: true, numbered: true},
		"window 4":               {pre13: true, window: 4},
		"window 4, ignored":      {pre13: true, ignore: true, window: 4, up: true},
		"window 0 without pre13": {window: 0, up: true},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				n.alter = withWindow(wire.MsgICRP, tt.window)
				b := n.start(t, "2.2.2.2", changed(acceptor(), func(p *policy.Policy) {
					if tt.numbered { // as an old peer does that says 0
						p.Accept[0].Sequencing = policy.SequencingAlways
					}
				}), true)
				p := initiators(1)
				p.Calls["c0"].PRE13, p.Calls["c0"].IgnoreWindow13 = tt.pre13, tt.ignore
				a := n.start(t, "1.1.1.1", p, true)
				defer a.stop()
				defer b.stop()
				if !tt.up {
					a.until("refused", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
					if !strings.Contains(a.log.String(), "flow control") {
						t.Errorf("the reason is not in the log:\n%s", a.log)
					}
					return
				}
				a.up("c0", time.Minute)
				if got := a.look().Sessions[0].SequencesSent; got != tt.numbered {
					t.Errorf("data numbered: %v, want %v", got, tt.numbered)
				}
			})
		})
	}
}
