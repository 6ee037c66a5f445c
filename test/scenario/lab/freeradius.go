//go:build kernel

package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// FreeRADIUS is a FreeRADIUS 3 that answers logins on port 1812 and takes accounting records on 1813, each of any address of its host.
type FreeRADIUS struct {
	*Proc

	dir string
}

// serverConfig has DIR, SECRET and SIGN in it. A user whose name begins with "slow" waits for eight seconds, and with him all others: with
// -X there is one thread.
const serverConfig = `
prefix = DIR
logdir = DIR
raddbdir = DIR
run_dir = DIR
libdir = /usr/lib/freeradius
max_request_time = 30
security { allow_core_dumps = no
	reject_delay = 0 }
modules {
	pap { }
	chap { }
	mschap { use_mppe = yes
		require_encryption = yes
		require_strong = yes }
	exec { wait = yes
		input_pairs = request
		shell_escape = yes
		timeout = 10 }
	files { usersfile = DIR/users }
	detail { filename = DIR/detail }
}
client all { ipaddr = 0.0.0.0/0
	secret = SECRET
	require_message_authenticator = yes }
server default {
	listen { type = auth
		ipaddr = *
		port = 1812 }
	listen { type = acct
		ipaddr = *
		port = 1813 }
	authorize {
		if (&User-Name =~ /^slow/) {
			update control {
				Tmp-String-0 := ` + "`/bin/sleep 8`" + `
			}
		}
		chap
		mschap
		files
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type CHAP {
			chap
		}
		Auth-Type MS-CHAP {
			mschap
		}
	}
	preacct { }
	accounting {
		detail
	}
	SIGN
}
`

// signAnswers has answers signed, which FreeRADIUS does not do by itself before 3.2.5. It is the text of docs/radius.md.
const signAnswers = `post-auth {
	update reply {
		Message-Authenticator := 0x00
	}
	Post-Auth-Type REJECT {
		update reply {
			Message-Authenticator := 0x00
		}
	}
}`

// FreeRADIUS runs a server for clients with a secret, with a users file, and waits until it serves.
func (h *Host) FreeRADIUS(secret, users string) *FreeRADIUS {
	h.l.t.Helper()
	return h.freeRADIUS(secret, users, signAnswers)
}

// UnsignedFreeRADIUS does the same with a server that does not sign its answers.
func (h *Host) UnsignedFreeRADIUS(secret, users string) *FreeRADIUS {
	h.l.t.Helper()
	return h.freeRADIUS(secret, users, "")
}

func (h *Host) freeRADIUS(secret, users, sign string) *FreeRADIUS {
	t := h.l.t
	t.Helper()
	x := &FreeRADIUS{dir: filepath.Join(h.l.dir, h.Name+"-radius")}
	if err := os.MkdirAll(x.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("DIR", x.dir, "SECRET", secret, "SIGN", sign).Replace(serverConfig)
	for name, text := range map[string]string{"radiusd.conf": config, "users": users, "dictionary": ""} {
		if err := os.WriteFile(filepath.Join(x.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.Proc = &Proc{Name: h.Name + "-freeradius", Host: h}
	x.Start()
	return x
}

// Start starts the server, again after Kill, and waits until it serves.
func (x *FreeRADIUS) Start() {
	x.Host.l.t.Helper()
	x.Proc = x.Host.start("freeradius", exec.Command("freeradius", "-X", "-d", x.dir))
	x.WaitLog("Ready to process requests")
}

// Record is an accounting record: attributes by name, as the server writes them, without quotes.
type Record map[string]string

// Records are all accounting records that the server has taken, over its restarts.
func (x *FreeRADIUS) Records() (all []Record) {
	b, err := os.ReadFile(filepath.Join(x.dir, "detail"))
	if err != nil && !os.IsNotExist(err) {
		x.Host.l.t.Fatal(err)
	}
	for text := range strings.SplitSeq(string(b), "\n\n") {
		r := Record{}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok {
				r[name] = strings.Trim(value, `"`)
			}
		}
		if len(r) > 0 && strings.HasSuffix(string(b), "\n\n") {
			all = append(all, r)
		}
	}
	return all
}

// WaitRecord waits for an accounting record with all these attributes: name, value, ...
func (x *FreeRADIUS) WaitRecord(pairs ...string) (found Record) {
	x.Host.l.t.Helper()
	x.Host.l.Eventually(x.Name+": a record with "+strings.Join(pairs, " "), func() error {
		all := x.Records()
		for _, r := range all {
			if r.has(pairs) {
				found = r
				return nil
			}
		}
		return fmt.Errorf("there are %v", all)
	})
	return found
}

func (r Record) has(pairs []string) bool {
	for i := 0; i+1 < len(pairs); i += 2 {
		if r[pairs[i]] != pairs[i+1] {
			return false
		}
	}
	return true
}

// Order sends a "disconnect" or "coa" request with attributes from this host, and returns what radclient says of it and of the answer.
func (h *Host) Order(to, what, secret, attributes string) string {
	h.l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	c := exec.CommandContext(ctx, "radclient", "-x", "-r", "1", "-t", "15", to, what, secret)
	c.Stdin = strings.NewReader(fmt.Sprintf("%s, Event-Timestamp = %d, Message-Authenticator = 0x00\n", attributes, time.Now().Unix()))
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := h.Do(c.Start); err != nil {
		h.l.t.Fatalf("radclient: %v", err)
	}
	_ = c.Wait() // it fails with a refusal
	return out.String()
}
