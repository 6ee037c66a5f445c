package network

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	ping4 = "4500001c 00004000 40010000 0a000001 c0a81405  0800 0000 1234 0001"
	tcp6  = "60000000 00140640 20010db8000000000000000000000001 20010db8000000000000000000000002  c001 0050 00000000"
)

func TestDestination(t *testing.T) {
	t.Parallel()
	for packet, want := range map[string]string{ping4: "192.168.20.5", tcp6: "2001:db8::2"} {
		if got, ok := destination(unhex(t, packet)); !ok || got != ip(want) {
			t.Errorf("%v, %v; want %s", got, ok, want)
		}
	}
	for _, packet := range []string{"", "45", ping4[:40], "6000", "10" + ping4[2:]} {
		if got, ok := destination(unhex(t, strings.TrimSpace(packet))); ok {
			t.Errorf("%q gave %v", packet, got)
		}
	}
}

// The tuple is what the kernel's connection tracking would make of the packet.
func TestTupleOf(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, packet, want string }{
		{
			"ICMP echo", ping4,
			"14000180 08000100 0a000001 08000200 c0a81405" +
				"24000280 05000100 01000000 06000400 12340000 05000500 08000000 05000600 00000000",
		},
		{
			"TCP over IPv6", tcp6,
			"2c000180 14000300 20010db8000000000000000000000001 14000400 20010db8000000000000000000000002" +
				"1c000280 05000100 06000000 06000200 c0010000 06000300 00500000",
		},
	}
	for _, test := range tests {
		_, got, ok := tupleOf(unhex(t, test.packet))
		if diff := cmp.Diff(hex.EncodeToString(unhex(t, test.want)), hex.EncodeToString(got)); !ok || diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	fragment := unhex(t, ping4)
	fragment[7] = 1
	if _, got, ok := tupleOf(fragment); ok {
		t.Errorf("a later fragment gave %x", got)
	}
}

// waiting makes a Demand over a pipe: what is put back comes out of the other end.
func waiting(t *testing.T, wake func()) (*Demand, *os.File) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), out.Close() })
	d := &Demand{tun: in, wake: wake, routes: prefixes("192.168.20.0/24", "2001:db8::/64")}
	d.again = time.AfterFunc(time.Hour, d.listenAgain)
	d.forget = time.AfterFunc(time.Hour, d.dropKept)
	return d, out
}

// S157: the owner is told at once, then at most once a second; packets wait 30 s, 16 of them.
func TestDemandKeepsAFewPacketsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var woken atomic.Int32
		d, out := waiting(t, nil)
		arrive := func(packet string) {
			if _, wake := d.take([]byte(packet)); wake {
				woken.Add(1)
			}
		}
		pass := func(by time.Duration) {
			time.Sleep(by)
			synctest.Wait()
		}
		for i := range 100 {
			arrive(string(rune('A' + i%26)))
		}
		if woken.Load() != 1 {
			t.Errorf("woken %d times by one burst", woken.Load())
		}
		d.Release(true, false)
		buffer := make([]byte, 100)
		n, err := out.Read(buffer)
		if err != nil || string(buffer[:n]) != "ABCDEFGHIJKLMNOP" {
			t.Errorf("put back %q, %v; want the first 16", buffer[:n], err)
		}
		d.Release(false, false)
		arrive("x")
		pass(wakeInterval)
		arrive("y")
		if woken.Load() != 2 {
			t.Errorf("woken %d times, want again after a second", woken.Load())
		}
		pass(keptFor)
		arrive("z")
		d.Release(true, false)
		if n, err = out.Read(buffer); err != nil || string(buffer[:n]) != "z" {
			t.Errorf("put back %q, %v; want only the fresh packet", buffer[:n], err)
		}
		d.again.Stop()
		d.forget.Stop()
	})
}

func TestDemandIsForItsNetworksOnly(t *testing.T) {
	t.Parallel()
	d := &Demand{routes: []netip.Prefix{netip.MustParsePrefix("192.168.20.0/24")}}
	if !d.asked(unhex(t, ping4)) {
		t.Error("a packet for the network is not asked for")
	}
	if d.asked(unhex(t, tcp6)) {
		t.Error("a packet for elsewhere is asked for")
	}
}

// With IPV6CP open before IPCP, the kept IPv4 packets were put back while their route still led to the device, and stayed there.
func TestDemandReleasesOneProtocolAtATime(t *testing.T) {
	t.Parallel()
	d, out := waiting(t, func() {})
	four, six := unhex(t, ping4), append([]byte{0x60}, make([]byte, 39)...)
	passes := func(packet []byte) bool {
		passes, _ := d.take(packet)
		return passes
	}
	if passes(four) || passes(six) {
		t.Error("packets pass before the call")
	}
	d.Release(false, true)
	buffer := make([]byte, 2000)
	if n, err := out.Read(buffer); err != nil || string(buffer[:n]) != string(six) {
		t.Errorf("put back %x, %v; want the IPv6 packet", buffer[:n], err)
	}
	if passes(four) || !passes(six) {
		t.Error("a late packet passes by its own protocol")
	}
	d.Release(true, true)
	if n, err := out.Read(buffer); err != nil || string(buffer[:n]) != string(four)+string(four) {
		t.Errorf("put back %x, %v; want both IPv4 packets", buffer[:n], err)
	}
	d.Release(false, false)
	if passes(four) || passes(six) {
		t.Error("packets pass after the call")
	}
	d.again.Stop()
	d.forget.Stop()
}

// A past trap: a packet came just before Release, and was kept just after: it waited for the next call.
func TestDemandKeepsNothingThatHasItsWay(t *testing.T) {
	t.Parallel()
	d, _ := waiting(t, nil)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	d.tun = null
	packet, over := unhex(t, ping4), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				d.take(packet)
			}
		}
	})
	stranded := 0
	for range 200_000 {
		d.Release(false, false)
		d.Release(true, true)
		d.mu.Lock()
		stranded += len(d.kept)
		d.mu.Unlock()
	}
	close(over)
	reader.Wait()
	if stranded > 0 {
		t.Errorf("%d packets were kept that had their way", stranded)
	}
	d.again.Stop()
	d.forget.Stop()
}
