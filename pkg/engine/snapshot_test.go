package engine

import (
	"testing"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// A past bug: sessions said CHAP-MD5 where the API promises, and the configuration says, chap.
func TestLoginMethodsHaveTheNamesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for m, want := range map[ppp.AuthMethod]string{ppp.AuthNone: "none", ppp.AuthPAP: "pap", ppp.AuthCHAPMD5: "chap"} {
		if got := authName(m); got != want {
			t.Errorf("%v is shown as %q, want %q", m, got, want)
		}
	}
}
