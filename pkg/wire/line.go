package wire

import (
	"encoding/binary"
	"slices"
	"strconv"
)

// VendorAccessLine is the vendor of the access line AVPs: the ADSL Forum, today the Broadband Forum (RFC 5515, 5).
const VendorAccessLine uint16 = 3561

// LineAttribute is an attribute number of vendor 3561. Its numbers are those of the RADIUS attributes of the same vendor
// (RFC 4679) and of the tags that an access node puts into PPPoE discovery (TR-101).
type LineAttribute uint16

// Attributes of an access line (RFC 5515, 5.1-5.19). Rates are in bit/s, delays in milliseconds. Up is from the subscriber.
const (
	LineCircuitID        LineAttribute = 1
	LineRemoteID         LineAttribute = 2
	LineActualRateUp     LineAttribute = 129
	LineActualRateDown   LineAttribute = 130
	LineMinRateUp        LineAttribute = 131
	LineMinRateDown      LineAttribute = 132
	LineAttainRateUp     LineAttribute = 133
	LineAttainRateDown   LineAttribute = 134
	LineMaxRateUp        LineAttribute = 135
	LineMaxRateDown      LineAttribute = 136
	LineLowPowerRateUp   LineAttribute = 137
	LineLowPowerRateDown LineAttribute = 138
	LineMaxDelayUp       LineAttribute = 139
	LineActualDelayUp    LineAttribute = 140
	LineMaxDelayDown     LineAttribute = 141
	LineActualDelayDown  LineAttribute = 142
	LineEncapsulation    LineAttribute = 144 // 3 octets: data link, encapsulation 1, encapsulation 2
	LineType             LineAttribute = 145 // 4 octets: transmission system, then zeros
	LineIWFSession       LineAttribute = 254 // 1: an interworking function (PPPoA to PPPoE) has been at work
)

// lineRow is a row of the catalogue of vendor 3561.
type lineRow struct {
	kind LineAttribute
	attribute
}

// lineCatalogue is the table of access line AVPs, by number. All go into ICRQ, with M=0, so that an LNS may ignore them, and
// may be hidden (RFC 5515, 5): they tell where a subscriber lives and what was bought. It is read only.
var lineCatalogue = [...]lineRow{
	{LineCircuitID, lineText("Agent-Circuit-Id")},
	{LineRemoteID, lineText("Agent-Remote-Id")},
	{LineActualRateUp, lineNumber("Actual-Data-Rate-Upstream", 8)},
	{LineActualRateDown, lineNumber("Actual-Data-Rate-Downstream", 8)},
	{LineMinRateUp, lineNumber("Minimum-Data-Rate-Upstream", 8)},
	{LineMinRateDown, lineNumber("Minimum-Data-Rate-Downstream", 8)},
	{LineAttainRateUp, lineNumber("Attainable-Data-Rate-Upstream", 8)},
	{LineAttainRateDown, lineNumber("Attainable-Data-Rate-Downstream", 8)},
	{LineMaxRateUp, lineNumber("Maximum-Data-Rate-Upstream", 8)},
	{LineMaxRateDown, lineNumber("Maximum-Data-Rate-Downstream", 8)},
	{LineLowPowerRateUp, lineNumber("Minimum-Data-Rate-Upstream-Low-Power", 8)},
	{LineLowPowerRateDown, lineNumber("Minimum-Data-Rate-Downstream-Low-Power", 8)},
	{LineMaxDelayUp, lineNumber("Maximum-Interleaving-Delay-Upstream", 4)},
	{LineActualDelayUp, lineNumber("Actual-Interleaving-Delay-Upstream", 4)},
	{LineMaxDelayDown, lineNumber("Maximum-Interleaving-Delay-Downstream", 4)},
	{LineActualDelayDown, lineNumber("Actual-Interleaving-Delay-Downstream", 4)},
	{LineEncapsulation, lineOctets("Access-Loop-Encapsulation", 3)},
	{LineType, lineOctets("ANCP Access Line Type", 4)},
	{LineIWFSession, lineNumber("IWF-Session", 4)},
}

func lineText(name string) attribute {
	return attribute{name: name, min: 2, max: 63, kind: kindText, hidable: true, hide: true, may: inICRQ}
}

func lineNumber(name string, octets int) attribute {
	return attribute{name: name, min: octets, max: octets, kind: kindNumber, hidable: true, hide: true, may: inICRQ}
}

func lineOctets(name string, octets int) attribute {
	return attribute{name: name, min: octets, max: octets, kind: kindBytes, hidable: true, hide: true, may: inICRQ}
}

// lineIndex is the place of t in lineCatalogue, -1 if it has none.
func lineIndex(t LineAttribute) int {
	return slices.IndexFunc(lineCatalogue[:], func(r lineRow) bool { return r.kind == t })
}

// rowOf is the row of an AVP whatever its vendor, or nil if it has none.
func rowOf(a AVP) *attribute {
	switch a.Vendor {
	case 0:
		return lookup(a.Type)
	case VendorAccessLine:
		if i := lineIndex(LineAttribute(a.Type)); i >= 0 {
			return &lineCatalogue[i].attribute
		}
	}
	return nil
}

// String is the name in RFC 5515, or "access line AVP n".
func (t LineAttribute) String() string {
	if i := lineIndex(t); i >= 0 {
		return lineCatalogue[i].name
	}
	return "access line AVP " + strconv.Itoa(int(t))
}

// Fits reports whether t is an access line AVP whose value may have n octets.
func (t LineAttribute) Fits(n int) bool {
	i := lineIndex(t)
	return i >= 0 && lineCatalogue[i].fits(n)
}

// LineBytes makes an access line AVP that aliases v.
func LineBytes(t LineAttribute, v []byte) AVP {
	return AVP{Vendor: VendorAccessLine, Type: AVPType(t), Value: v}
}

// LineNumber makes an access line AVP from a number, in as many octets as t has. A t that is not a number gets 8.
func LineNumber(t LineAttribute, v uint64) AVP {
	b := binary.BigEndian.AppendUint64(nil, v)
	if i := lineIndex(t); i >= 0 && lineCatalogue[i].max < len(b) {
		b = b[len(b)-lineCatalogue[i].max:]
	}
	return LineBytes(t, b)
}

// Number is a value of up to 8 octets as a number; of a longer one, the last 8 octets.
func (a AVP) Number() uint64 {
	var v uint64
	for _, b := range a.Value {
		v = v<<8 | uint64(b)
	}
	return v
}
