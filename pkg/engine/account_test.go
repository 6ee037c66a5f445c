package engine

import (
	"testing"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// P242, P208: what the other end of the tunnel says of the end is accounted, most telling first.
func TestWhatThePeerSaysIsAccounted(t *testing.T) {
	t.Parallel()
	value := func(code, direction byte) []byte { return []byte{0, code, 0xc0, 0x21, direction} }
	for name, c := range map[string]struct {
		result uint16
		value  []byte
		want   radius.TerminateCause
	}{
		"the user has hung up":             {wire.CDNAdmin, value(3, 1), radius.UserRequest},
		"the LNS has closed PPP":           {wire.CDNAdmin, value(3, 2), radius.HostRequest},
		"its operator":                     {wire.CDNAdmin, value(1, 0), radius.AdminReset},
		"echoes without an answer":         {wire.CDNAdmin, value(8, 0), radius.LostCarrier},
		"a wrong password":                 {wire.CDNAdmin, value(16, 1), radius.UserError},
		"no address":                       {wire.CDNNoFacilitiesTemp, value(18, 0), radius.ServiceUnavailable},
		"no more than an administrator":    {wire.CDNAdmin, nil, radius.UserRequest},
		"a cause that tells nothing":       {wire.CDNLostCarrier, value(0, 0), radius.LostCarrier},
		"a cause that is not known":        {wire.CDNLostCarrier, value(99, 0), radius.LostCarrier},
		"a value that is cut":              {wire.CDNLostCarrier, []byte{0, 1, 2}, radius.LostCarrier},
		"the LNS is full":                  {wire.CDNNoFacilitiesTemp, nil, radius.ServiceUnavailable},
		"an error":                         {wire.CDNError, nil, radius.ServiceUnavailable},
		"nothing, for the tunnel has gone": {0, nil, radius.LostService},
	} {
		if got := terminateCause(call.EvDown{Cause: "peer", Said: call.ReadSaid(c.result, c.value)}); got != c.want {
			t.Errorf("%s: cause %d, want %d", name, got, c.want)
		}
	}
}
