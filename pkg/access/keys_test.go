package access

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/access/pppoe"
	"github.com/l2tpd/l2tpd/pkg/access/tty"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Every key of lac.access[].pppoe is in what the listener is made of; the template goes to the engine with the caller.
func TestEveryPPPoEKeyReachesTheListener(t *testing.T) {
	t.Parallel()
	c := &concentrator{m: New(Config{HostName: "edge1"})}
	full := policy.PPPoE{
		Interface: "eth7", ServiceNames: []string{"internet"}, ACName: "ac", Delay: time.Second, MaxPayload: 1500, MaxSessions: 7,
		MaxSessionsOfMAC: 3, Rate: 70, RateOfMAC: 5,
	}
	for i := range reflect.TypeFor[policy.PPPoE]().NumField() {
		if reflect.ValueOf(full).Field(i).IsZero() {
			t.Errorf("the test leaves %s out", reflect.TypeFor[policy.PPPoE]().Field(i).Name)
		}
	}
	rate := func(n int) pppoe.Rate { return pppoe.Rate{PerSecond: n, Burst: n} }
	for _, x := range []struct {
		in   policy.PPPoE
		want pppoe.Config
	}{
		{full, pppoe.Config{
			Interface: "eth7", ServiceNames: []string{"internet"}, ACName: "ac", Delay: time.Second, MaxPayload: 1500, MaxSessions: 7, MaxSessionsPerMAC: 3,
			Rates: pppoe.Rates{PADI: rate(70), PADR: rate(70), StationPADI: rate(5), StationPADR: rate(5)},
		}},
		{policy.PPPoE{Interface: "eth1"}, pppoe.Config{
			Interface: "eth1", ACName: "edge1", MaxPayload: 1492, MaxSessions: unlimited, MaxSessionsPerMAC: unlimited,
			Rates: pppoe.Rates{PADI: rate(1000), PADR: rate(1000), StationPADI: rate(10), StationPADR: rate(10)},
		}},
	} {
		if d := cmp.Diff(x.want, c.config(policy.Access{PPPoE: &x.in})); d != "" {
			t.Error(d)
		}
	}
}

// bench is a place without a wire.
type bench struct {
	done    bool
	problem error
	got     []policy.Access
	closed  int
	onClose func()
}

func (b *bench) configure(a policy.Access) (bool, error) {
	b.got = append(b.got, a)
	return b.done, b.problem
}

func (b *bench) close() error {
	b.closed++
	if b.onClose != nil {
		b.onClose()
	}
	return nil
}

// open has a manager serve a bench.
func open(m *Manager, b *bench, a policy.Access, ring Ring) *served {
	s := &served{place: b, conf: a}
	s.callers.init(ring)
	m.places[a.Name] = s
	return s
}

func at(name, ac string) policy.Access {
	return policy.Access{Name: name, PPPoE: &policy.PPPoE{Interface: name, ACName: ac}}
}

// A place whose configuration has not changed is left alone; one that can take the new one keeps its callers; the others are closed.
func TestServeMakesTheDifference(t *testing.T) {
	t.Parallel()
	m := New(Config{Logger: slog.New(slog.DiscardHandler)})
	ring := func(Caller, Line) func(string) { return func(string) {} }
	same, changed, left := &bench{done: true}, &bench{done: true}, &bench{done: true}
	open(m, same, at("eth1", "x"), ring)
	open(m, changed, at("eth2", "x"), ring)
	open(m, left, at("eth3", "x"), ring)
	if err := m.Serve([]policy.Access{at("eth1", "x"), at("eth2", "y")}, ring); err != nil {
		t.Error(err)
	}
	if len(same.got)+same.closed > 0 || len(changed.got) != 1 || changed.got[0].PPPoE.ACName != "y" || changed.closed > 0 || left.closed != 1 {
		t.Errorf("same %+v, changed %+v, left %+v", same, changed, left)
	}
	if len(m.places) != 2 || m.places["eth2"].conf.PPPoE.ACName != "y" {
		t.Errorf("%v", m.places)
	}
	if err := m.Serve(nil, ring); err != nil || len(m.places) != 0 || same.closed != 1 || changed.closed != 1 {
		t.Errorf("%v: %v, same %+v, changed %+v", err, m.places, same, changed)
	}
}

// A configuration that a place cannot take is told, and tried again next time.
func TestConfigurationThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	m := New(Config{})
	ring := func(Caller, Line) func(string) { return func(string) {} }
	b := &bench{done: true, problem: errors.New("refused by the test")}
	open(m, b, at("eth1", "x"), ring)
	for range 2 {
		if err := m.Serve([]policy.Access{at("eth1", "y")}, ring); !errors.Is(err, b.problem) {
			t.Errorf("%v", err)
		}
	}
	b.problem = nil
	if err := m.Serve([]policy.Access{at("eth1", "y")}, ring); err != nil || len(b.got) != 3 || b.closed > 0 {
		t.Errorf("%v: %+v", err, b)
	}
	if err := m.Serve([]policy.Access{at("eth1", "y")}, ring); err != nil || len(b.got) != 3 {
		t.Errorf("%v: %+v", err, b)
	}
}

// A place that cannot be opened is told, and keeps nobody from the others.
func TestPlaceThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	m := New(Config{})
	ring := func(Caller, Line) func(string) { return func(string) {} }
	b := &bench{done: true}
	open(m, b, at("eth1", "x"), ring)
	bad := policy.Access{Name: "/dev/none", TTY: &policy.TTY{Device: "/dev/none", DialIn: true, Answer: []string{"only an odd one", "b", "c"}}}
	bad.TTY.Speed = -1
	if err := m.Serve([]policy.Access{bad, at("eth1", "y")}, ring); err == nil || len(b.got) != 1 || m.places["/dev/none"] != nil {
		t.Errorf("%v: %+v, %v", err, b, m.places)
	}
	_ = m.Serve(nil, ring)
}

// line is how the owner answers.
type line struct{ hung chan string }

func (line) Ready() {}

func (l line) HangUp(why string) { l.hung <- why }

// Subscribers at a place that is left are told, and the place is closed when the owner has let them go.
func TestLeavingWaitsForTheOwner(t *testing.T) {
	t.Parallel()
	m := New(Config{})
	told := make(chan string, 2)
	var s *served
	ring := func(Caller, Line) func(string) { return func(why string) { told <- why } }
	b := &bench{}
	s = open(m, b, at("eth1", "x"), ring)
	b.onClose = func() {
		if len(s.callers.gone) > 0 {
			t.Errorf("closed with %d callers", len(s.callers.gone))
		}
	}
	s.callers.arrived(1, Caller{}, line{})
	s.callers.arrived(2, Caller{}, line{})
	go func() {
		<-told
		<-told
		s.callers.forget(1)
		s.callers.forget(2)
		s.callers.forget(2) // who is forgotten already
	}()
	if err := m.Serve(nil, ring); err != nil || b.closed != 1 {
		t.Errorf("%v: closed %d times", err, b.closed)
	}
}

// An owner who is slow is waited for as long as he lets go of one after the other; one who does not keeps nothing open.
func TestLeavingWaitsAsLongAsTheOwnerGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c callers
		c.init(func(Caller, Line) func(string) { return func(string) {} })
		for n := range 100 {
			c.arrived(n, Caller{}, line{})
		}
		go func() {
			for n := range 99 {
				time.Sleep(leaving - 1)
				c.forget(n)
			}
		}()
		began := time.Now()
		c.leave("the test is over")
		if took, want := time.Since(began), 99*(leaving-1)+leaving; took != want || c.count() != 1 {
			t.Errorf("%d callers after %v, want 1 after %v", c.count(), took, want)
		}
	})
}

// Nobody is let in at a place that is left: who comes is told at once, the owner does not hear of him, and nobody is waited for.
func TestNobodyIsLetInAtAPlaceThatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c callers
		rung := 0
		c.init(func(Caller, Line) func(string) { rung++; return func(string) {} })
		c.arrived(0, Caller{}, line{}) // whom the owner never lets go
		began := time.Now()
		refused := make(chan string, 100)
		go func() {
			for n := range 100 {
				time.Sleep(leaving / 10)
				c.arrived(1+n, Caller{}, line{refused})
				c.forget(1 + n)
			}
		}()
		c.leave("it is left")
		if took := time.Since(began); took != leaving || rung != 1 || c.count() != 1 {
			t.Errorf("left after %v; the owner has heard of %d", took, rung)
		}
		for range 100 {
			if why := <-refused; why != "it is left" {
				t.Errorf("told %q", why)
			}
		}
	})
}

// answers is a place at which subscribers are answered.
type answers chan string

func (a answers) Accept(uint16)                                { a <- "accept" }
func (a answers) Refuse(_ uint16, _ pppoe.Refusal, why string) { a <- "refuse: " + why }
func (a answers) Terminate(_ uint16, why string)               { a <- "terminate: " + why }
func (a answers) Freed(uint16)                                 { a <- "freed" }

// A place may be closed when nobody is left: he who was the last has been told by then.
func TestLastCallerIsToldBeforeThePlaceIsClosed(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		ready bool
		want  []string
	}{
		{false, []string{"refuse: no"}},
		{true, []string{"accept", "terminate: no", "freed"}},
	} {
		var c callers
		c.init(func(Caller, Line) func(string) { return func(string) {} })
		said := make(answers) // each word is waited for
		o := &offer{answerer: said, callers: &c, id: 7}
		c.arrived(7, Caller{}, o)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if x.ready {
				o.Ready()
			}
			o.HangUp("no")
		}()
		for _, want := range x.want {
			if c.count() != 1 {
				t.Errorf("forgotten before %q was said", want)
			}
			if got := <-said; got != want {
				t.Errorf("%q is said, want %q", got, want)
			}
		}
		if <-done; c.count() != 0 {
			t.Error("not forgotten")
		}
	}
}

// The device is not a caller's any more when his line may be opened anew.
func TestDeviceIsClosedBeforeTheLineIs(t *testing.T) {
	t.Parallel()
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	if err := theirs.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	x := &modem{m: New(Config{}), callers: &callers{}, Line: &tty.Line{}}
	x.callers.init(func(Caller, Line) func(string) { return func(string) {} })
	x.callers.arrived(0, Caller{}, onLine{})
	x.callers.mu.Lock() // nobody can be forgotten
	done := make(chan struct{})
	go func() {
		defer close(done)
		onLine{x, tty.Call{File: ours}}.HangUp("no")
	}()
	if n, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%d octets, %v", n, err)
	}
	if len(x.callers.gone) != 1 {
		t.Error("forgotten while the device was open")
	}
	x.callers.mu.Unlock()
	if <-done; x.callers.count() != 0 {
		t.Error("not forgotten")
	}
}

// One who goes by himself is told of once he is there, and not after the owner has let him go.
func TestCallersComeAndGo(t *testing.T) {
	t.Parallel()
	var c callers
	var who []Caller
	var why []string
	c.init(func(x Caller, _ Line) func(string) {
		who = append(who, x)
		return func(text string) { why = append(why, text) }
	})
	c.left(5, "nobody")
	c.arrived(5, Caller{Access: policy.Access{Name: "eth1"}}, line{})
	c.left(5, "PADT")
	c.all("the interface is down")
	c.forget(5)
	c.left(5, "late")
	c.all("late, too")
	if d := cmp.Diff([]string{"PADT", "the interface is down"}, why); d != "" || len(who) != 1 {
		t.Errorf("%s\n%v", d, who)
	}
}

// What a subscriber is called, and where his call comes from.
func TestCallersHaveNames(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		c             Caller
		name, station string
	}{
		{Caller{PPPoE: &PPPoE{Interface: "eth1", SessionID: 7, MAC: [6]byte{2, 0, 0, 0, 0, 9}}}, "eth1/7 02:00:00:00:00:09", "02:00:00:00:00:09"},
		{Caller{TTY: &TTY{Device: "/dev/ttyS0", CallingNumber: "0311"}}, "/dev/ttyS0", "0311"},
		{Caller{Access: policy.Access{Name: "x"}, Line: &control.AccessLine{}}, "x", ""},
	} {
		if x.c.Name() != x.name || x.c.Station() != x.station {
			t.Errorf("%q from %q, want %q from %q", x.c.Name(), x.c.Station(), x.name, x.station)
		}
	}
}

// There is nobody to dial on where no line is.
func TestDialNeedsALine(t *testing.T) {
	t.Parallel()
	m := New(Config{})
	ring := func(Caller, Line) func(string) { return func(string) {} }
	open(m, &bench{}, at("eth1", "x"), ring)
	for _, name := range []string{"/dev/ttyS0", "eth1"} {
		if _, _, err := m.Dial(t.Context(), name, "1", ""); err == nil {
			t.Errorf("%s is dialled on", name)
		}
	}
}
