package control

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// setups are the scripts that lead to each state of each table.
var setups = map[string]map[string][]string{
	"7.2.1-control-connection": {
		"idle":           nil,
		"wait-ctl-reply": {"config tie", "open"},
		"wait-ctl-conn":  {"rx SCCRQ"},
		"established":    {"rx SCCRQ", "rx SCCCN"},
	},
	"7.4.1-lac-incoming": {
		"idle":        {"rx SCCRQ", "rx SCCCN"},
		"wait-tunnel": {"rx SCCRQ", "open-icrq"},
		"wait-reply":  {"rx SCCRQ", "rx SCCCN", "open-icrq"},
		"established": {"rx SCCRQ", "rx SCCCN", "open-icrq", "rx ICRP", "connect"},
	},
	"7.4.2-lns-incoming": {
		"idle":         {"rx SCCRQ", "rx SCCCN"},
		"wait-connect": {"rx SCCRQ", "rx SCCCN", "rx ICRQ", "accept"},
		"established":  {"rx SCCRQ", "rx SCCCN", "rx ICRQ", "accept", "rx ICCN"},
	},
	"7.5.1-lac-outgoing": {
		"idle":           {"rx SCCRQ", "rx SCCCN"},
		"wait-cs-answer": {"rx SCCRQ", "rx SCCCN", "rx OCRQ", "accept"},
		"established":    {"rx SCCRQ", "rx SCCCN", "rx OCRQ", "accept", "connect", "zlb"},
	},
	"7.5.2-lns-outgoing": {
		"idle":         {"rx SCCRQ", "rx SCCCN"},
		"wait-tunnel":  {"rx SCCRQ", "open-ocrq"},
		"wait-reply":   {"rx SCCRQ", "rx SCCCN", "open-ocrq"},
		"wait-connect": {"rx SCCRQ", "rx SCCCN", "open-ocrq", "rx OCRP"},
		"established":  {"rx SCCRQ", "rx SCCCN", "open-ocrq", "rx OCRP", "rx OCCN"},
	},
}

// P60-P109: every row of the state tables of RFC 2661, as data, with and without a restart between state and event.
func TestStateTables(t *testing.T) {
	t.Parallel()
	for table, states := range setups {
		data, err := os.ReadFile("testdata/rfc2661/" + table + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for row := range strings.Lines(string(data)) {
			if strings.HasPrefix(row, "#") {
				continue
			}
			cells := strings.Split(strings.TrimSpace(row), " | ")
			if len(cells) != 5 {
				t.Fatalf("%s: row %q", table, row)
			}
			setup, ok := states[cells[0]]
			if !ok {
				t.Fatalf("%s: state %q", table, cells[0])
			}
			for _, restart := range []bool{false, true} {
				name := table + "/" + cells[0] + "/" + cells[2]
				if restart {
					name += "/restarted"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					checkRow(t, strings.HasPrefix(table, "7.2"), setup, cells, restart)
				})
			}
		}
	}
}

func checkRow(t *testing.T, tunnel bool, setup, cells []string, restart bool) {
	t.Helper()
	s := newScript(t)
	for _, line := range setup {
		s.line(line)
	}
	if got := s.state(tunnel); got != cells[0] {
		t.Fatalf("set-up leads to %s", got)
	}
	if restart && s.tun != nil {
		s.line("restore")
	}
	sent := "-"
	for line := range strings.SplitSeq(cells[2], " ; ") {
		if line == "rx OCRQ sid=$" {
			line = "rx OCRQ sid=" + strconv.Itoa(int(s.session))
		}
		s.line(line)
		for _, m := range s.sent {
			sent = strings.TrimPrefix(sent+" "+m.Type.String(), "- ")
		}
	}
	if diff := cmp.Diff([]string{cells[3], cells[4]}, []string{sent, s.state(tunnel)}); diff != "" {
		t.Errorf("%s in %s (-RFC +got):\n%s", cells[1], cells[0], diff)
	}
	if !tunnel && s.tun.State() != TunnelEstablished && cells[0] != "wait-tunnel" {
		t.Errorf("tunnel %v: a session must not disturb it (P110)", s.tun.State())
	}
}

// state is the RFC's name for the state of the tunnel or of its newest session.
func (s *script) state(tunnel bool) string {
	if tunnel {
		if s.tun == nil || s.tun.State() == TunnelClosing || s.tun.State() == TunnelDead {
			return "idle"
		}
		return s.tun.State().String()
	}
	if x := s.tun.sess.byID[s.session]; x != nil {
		return x.State.String()
	}
	return "idle"
}

// Where the tables send StopCCN or CDN, the code is the one that the rows ask for.
func TestResultCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		want         wire.Result // without text
	}{
		{"P34 version", "rx SCCRQ version=0x0200", wire.Result{Code: wire.StopVersion, Error: 0x0100, HasError: true}},
		{"P35 window 0", "rx SCCRQ window=0 host=a-long-host-name", wire.Result{Code: wire.StopError, Error: wire.ErrCodeValue, HasError: true}},
		{"P23 unknown AVP", "rx SCCRQ unknown=1 host=a-long-host-name", wire.Result{Code: wire.StopError, Error: wire.ErrCodeUnknownMandatory, HasError: true}},
		{"P125 challenged without secret", "rx SCCRQ challenge=0102", wire.Result{Code: wire.StopNotAuthorised, HasError: true}},
		{"P125 challenged without secret", "open ; rx SCCRP challenge=0102", wire.Result{Code: wire.StopNotAuthorised, HasError: true}},
		{"P124 no response", "config secret=x ; open ; rx SCCRP", wire.Result{Code: wire.StopNotAuthorised, HasError: true}},
		{"P124 wrong response", "config secret=x ; open ; rx SCCRP response=bad", wire.Result{Code: wire.StopNotAuthorised, HasError: true}},
		{"P69 wrong response", "config secret=x ; rx SCCRQ ; rx SCCCN response=bad", wire.Result{Code: wire.StopNotAuthorised, HasError: true}},
		{"P69 no response", "config secret=x ; rx SCCRQ ; rx SCCCN", wire.Result{Code: wire.StopNotAuthorised, HasError: true}},
		{"P128 short response", "config secret=x ; rx SCCRQ ; rx SCCCN response=0102", wire.Result{Code: wire.StopNotAuthorised, HasError: true}},
		{"P128 long response", "config secret=x ; open ; rx SCCRP response=" + strings.Repeat("00", 17), wire.Result{Code: wire.StopNotAuthorised, HasError: true}},
		{"P67 SCCCN", "open ; rx SCCCN", wire.Result{Code: wire.StopFSM, HasError: true}},
		{"P57 shutdown", "open ; rx SCCRP ; close code=6", wire.Result{Code: wire.StopShutdown}},
		{"P112 idle", "config idle=60s ; rx SCCRQ ; rx SCCCN ; wait 61s", wire.Result{Code: wire.StopGeneral, HasError: true}},
		{"P24 unknown AVP", "rx SCCRQ ; rx SCCCN ; rx ICRQ unknown=1", wire.Result{Code: wire.CDNError, Error: wire.ErrCodeUnknownMandatory, HasError: true}},
		{"S44 role", "config no-incoming ; rx SCCRQ ; rx SCCCN ; rx ICRQ", wire.Result{Code: wire.CDNAdmin, HasError: true}},
		{"S44 role", "config no-outgoing ; rx SCCRQ ; rx SCCCN ; rx OCRQ", wire.Result{Code: wire.CDNAdmin, HasError: true}},
		{"P57 limit", "config max=1 ; rx SCCRQ ; rx SCCCN ; rx ICRQ ; rx ICRQ session=2", wire.Result{Code: wire.CDNNoFacilitiesTemp, HasError: true}},
		{"P95 bearer", "rx SCCRQ ; rx SCCCN ; rx OCRQ btype=2", wire.Result{Code: wire.CDNNoFacilitiesPerm, HasError: true}},
		{"P50 framing", "config framing=1 ; rx SCCRQ ; rx SCCCN ; rx OCRQ ftype=2", wire.Result{Code: wire.CDNError, Error: wire.ErrCodeValue, HasError: true}},
		{"P36 session id 0", "rx SCCRQ ; rx SCCCN ; open-icrq ; rx ICRP session=0", wire.Result{Code: wire.CDNError, Error: wire.ErrCodeValue, HasError: true}},
		{"P109 LAC", "rx SCCRQ ; rx SCCCN ; open-icrq ; zlb ; wait 11s", wire.Result{Code: wire.CDNTimeout, HasError: true}},
		{"P109 LNS", "rx SCCRQ ; rx SCCCN ; rx ICRQ ; accept ; zlb ; wait 11s", wire.Result{Code: wire.CDNError, Error: wire.ErrCodeResources, HasError: true}},
		{"P109 answer", "rx SCCRQ ; rx SCCCN ; rx OCRQ ; accept ; zlb ; wait 61s", wire.Result{Code: wire.CDNTimeout, HasError: true}},
		{"P281 AVP 20", "rx SCCRQ ; rx SCCCN ; rx ICRQ ; accept ; rx ICCN delay=3", wire.Result{Code: wire.CDNError, Error: wire.ErrCodeUnknownMandatory, HasError: true}},
		{"P284 window", "config pre13 ; rx SCCRQ ; rx SCCCN ; rx ICRQ ; accept ; rx ICCN window=4", wire.Result{Code: wire.CDNError, Error: wire.ErrCodeVendor, HasError: true}},
		{"P285 error 8", "config pre13 ; rx SCCRQ ; rx SCCCN ; rx ICRQ unknown=1", wire.Result{Code: wire.CDNError, Error: wire.ErrCodeVendor, HasError: true}},
		{"P285 length", "config pre13 ; rx SCCRQ ; rx SCCCN ; rx ICRQ ; hangup code=3", wire.Result{Code: wire.CDNAdmin, HasError: true}},
	} {
		t.Run(tt.name+"/"+tt.script, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			var last []wire.Message
			for line := range strings.SplitSeq(tt.script, " ; ") {
				s.line(line)
				if len(s.sent) > 0 {
					last = s.sent
				}
			}
			got, ok := last[len(last)-1].Result()
			if !ok {
				t.Fatalf("last message is %v", last)
			}
			if tt.want.HasError && got.Text == "" && tt.want.Code != wire.CDNAdmin {
				t.Error("no text")
			}
			got.Text = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}
