package policy

import "testing"

// S157: what waits for the first packet of one call never takes the name of another's.
func TestWaitingInterfacesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"a", "w-a", "branch_office", "branch_office_1", "branch_office_2", "branch_office_3", "twelve_chars"} {
		c := Call{Name: name}
		got := c.WaitingInterface()
		if len(got) > longestInterface || seen[got] != "" {
			t.Errorf("%s waits on %q, as %q does", name, got, seen[got])
		}
		seen[got] = name
	}
	c := Call{Name: "a", PPP: CallPPP{Interface: "wan"}}
	if got := c.WaitingInterface(); got != "w-wan" {
		t.Errorf("got %s, want w-wan", got)
	}
}
