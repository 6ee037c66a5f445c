package network

import (
	"errors"
	"os"
	"testing"
)

// A past trap: a name came to a new call before the old one was taken down, and the new one's interface was gone at once. Whoever got the
// name next found an owner that there was no more.
func TestANameIsForgottenWithItsOwner(t *testing.T) {
	t.Parallel()
	m, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	const name = "test-no-such"
	old := Owner{What: "old"}
	// That there is no such interface is noticed when it is the old one's.
	if err := m.Apply(t.Context(), old, Interface{Name: name, Fresh: &Fresh{Index: 1 << 30}}); err == nil || m.owners[old] == nil {
		t.Fatalf("the old one's: %v", err)
	}
	for _, next := range []string{"new", "newer"} {
		if err := m.Apply(t.Context(), Owner{What: next}, Interface{Name: name}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", next, err)
		}
	}
	if len(m.owners)+len(m.names) != 0 {
		t.Errorf("there are still owners %v, names %v", m.owners, m.names)
	}
	if err := m.Remove(t.Context(), old); err != nil {
		t.Error(err)
	}
}
