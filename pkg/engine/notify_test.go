package engine

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// P205: a LAC is told which characters its client need not have escaped, if its line is asynchronous; and it goes on when it has no such
// line, as ours has none.
func TestACCMIsToldToTheLACOfAnAsynchronousLine(t *testing.T) {
	type maps struct{ send, receive uint32 }
	for name, x := range map[string]struct {
		line uint32
		want []maps
	}{
		"asynchronous": {wire.FramingAsync, []maps{{0x000a0000, 0}, {1<<32 - 1, 1<<32 - 1}}}, // what the LAC said; then LCP begins anew
		"synchronous":  {wire.FramingSync, nil},
		"it says both": {wire.FramingSync | wire.FramingAsync, nil},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				says := lacSays("PasswordA")
				says[0].Value, says[1].Value = append(says[0].Value, 2, 6, 0, 0, 0, 0), append(says[1].Value, 2, 6, 0, 10, 0, 0)
				add := withAVPs(says...)
				n := newInternet()
				n.alter = func(d []byte) []byte {
					const framing = "\x00\x00\x00\x13\x00\x00\x00"
					return bytes.ReplaceAll(add(d), []byte(framing+"\x01"), append([]byte(framing), byte(x.line)))
				}
				b := n.start(t, "2.2.2.2", lasting(), true)
				defer b.stop()
				a := n.start(t, "1.1.1.1", one(autostart), true)
				defer a.stop()
				a.up("c0", time.Minute)
				time.Sleep(time.Second) // virtual
				var told []maps
				for _, m := range n.messages(b.addr, wire.MsgSLI) {
					send, receive, _ := m.ACCM()
					told = append(told, maps{send, receive})
				}
				if diff := cmp.Diff(x.want, told, cmp.AllowUnexported(maps{})); diff != "" {
					t.Errorf("SLI (-want +got):\n%s", diff)
				}
				if s := a.look().Sessions[0]; s.IPCP != "Opened" {
					t.Errorf("the session at the LAC: %+v", s)
				}
			})
		})
	}
}
