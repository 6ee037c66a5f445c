package ppp

import (
	"strconv"
	"strings"
	"testing"
)

// rfc1661Table is the table of RFC 1661, 4.1: one row an event, one column a state, "-" for the cells left empty. The
// footnotes (p, r, x) are left out.
const rfc1661Table = `
Up     2      irc,scr/6  -          -              -      -      -          -          -          -
Down   -      -          0          tls/1          0      1      1          1          1          tld/1
Open   tls/1  1          irc,scr/6  3              5      5      6          7          8          9
Close  0      tlf/0      2          2              4      4      irc,str/4  irc,str/4  irc,str/4  tld,irc,str/4
TO+    -      -          -          -              str/4  str/5  scr/6      scr/6      scr/8      -
TO-    -      -          -          -              tlf/2  tlf/3  tlf/3      tlf/3      tlf/3      -
RCR+   -      -          sta/2      irc,scr,sca/8  4      5      sca/8      sca,tlu/9  sca/8      tld,scr,sca/8
RCR-   -      -          sta/2      irc,scr,scn/6  4      5      scn/6      scn/7      scn/6      tld,scr,scn/6
RCA    -      -          sta/2      sta/3          4      5      irc/7      scr/6      irc,tlu/9  tld,scr/6
RCN    -      -          sta/2      sta/3          4      5      irc,scr/6  scr/6      irc,scr/8  tld,scr/6
RTR    -      -          sta/2      sta/3          sta/4  sta/5  sta/6      sta/6      sta/6      tld,zrc,sta/5
RTA    -      -          2          3              tlf/2  tlf/3  6          6          8          tld,scr/6
RUC    -      -          scj/2      scj/3          scj/4  scj/5  scj/6      scj/7      scj/8      scj/9
RXJ+   -      -          2          3              4      5      6          6          8          9
RXJ-   -      -          tlf/2      tlf/3          tlf/2  tlf/3  tlf/3      tlf/3      tlf/3      tld,irc,str/5
RXR    -      -          2          3              4      5      6          7          8          ser/9
`

// P252: every cell of the automaton is the RFC's.
func TestAutomatonIsTheTableOfRFC1661(t *testing.T) {
	t.Parallel()
	cells := 0
	for row, line := range strings.Split(strings.TrimSpace(rfc1661Table), "\n") {
		fields := strings.Fields(line)
		if len(fields) != 11 {
			t.Fatalf("row %q has %d fields", line, len(fields))
		}
		for col, want := range fields[1:] {
			cells++
			do, to, ok := state(col).on(trigger(row))
			got := "-"
			if ok {
				got = strconv.Itoa(int(to))
				if do != 0 {
					got = do.String() + "/" + got
				}
			} else if do != 0 || to != state(col) {
				t.Errorf("%v on %s: an empty cell changes something", state(col), fields[0])
			}
			if got != want {
				t.Errorf("%v on %s: %s, want %s", state(col), fields[0], got, want)
			}
		}
	}
	if cells != 160 {
		t.Errorf("%d cells, want 160", cells)
	}
}

// The timer runs exactly in the states that the table gives timeouts.
func TestRestartTimerRunsWhereTheTableHasTimeouts(t *testing.T) {
	t.Parallel()
	for s := stInitial; s <= stOpened; s++ {
		if _, _, ok := s.on(trTimeoutMore); ok != s.timed() {
			t.Errorf("%v: timed %v, the table says %v", s, s.timed(), ok)
		}
	}
}
