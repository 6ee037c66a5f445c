package lac

import (
	"encoding/hex"
	"testing"
)

// The checksums of answers are right, also where they carry; what is no ping has no answer.
func TestPingsAreAnswered(t *testing.T) {
	t.Parallel()
	const header, back = "4500001c0001400040012ade0a0000010a000002", "4500001c0001400040012ade0a0000020a000001"
	for in, want := range map[string]string{
		header + "0800f7fd00010001": back + "0000fffd00010001",
		header + "0800f8feff000000": back + "000000ffff000000",
		header + "0000fffd00010001": "", // an answer
		header + "0800f7fd000100":   "", // cut off
		header + "0800":             "",
		"":                          "",
		"4500001c0001200040014ade0a0000010a0000020800f7fd00010001": "", // a fragment
		"4500001c0001400040112ace0a0000010a0000020800f7fd00010001": "", // UDP
	} {
		packet, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(pong(packet)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
