//go:build kernel

package ipv6

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// foreign is somebody else's DHCPv6 client, which asks for a prefix on a link. What it learns it tells a script.
type foreign struct {
	*process
	dir, link string
}

// script makes the program that a client tells what it has learned: one line for each time, with these variables.
func (h *host) foreign(link, variables string) *foreign {
	h.t.Helper()
	c := &foreign{dir: h.t.TempDir(), link: link}
	c.file("script", "#!/bin/sh\necho \"$reason "+variables+"\" >> "+c.in("told")+"\n", h)
	return c
}

func (c *foreign) in(name string) string { return filepath.Join(c.dir, name) }

func (c *foreign) file(name, text string, h *host) {
	h.t.Helper()
	if err := os.WriteFile(c.in(name), []byte(text), 0o700); err != nil {
		h.t.Fatal(err)
	}
}

// told waits until the client has learned something.
func (c *foreign) told(words ...string) {
	c.h.t.Helper()
	c.h.until("cat "+c.in("told"), words...)
}

// untold finds a client that knows of a prefix too early.
func (c *foreign) untold() {
	c.h.t.Helper()
	if out, err := c.h.Try("grep 2001: " + c.in("told")); err == nil {
		c.h.t.Errorf("the client knows already: %s", out)
	}
}

// dhclient starts ISC's client, which knows no PPP links.
func (h *host) dhclient(link string) *foreign {
	h.t.Helper()
	c := h.foreign(link, "$new_ip6_prefix $new_dhcp6_name_servers")
	c.process = h.start("dhclient", append(c.dhclientArgs(), "-d", link)...)
	return c
}

func (c *foreign) dhclientArgs() []string {
	return []string{"-6", "-P", "-v", "-cf", "/dev/null", "-lf", c.in("leases"), "-pf", c.in("pid"), "-sf", c.in("script")}
}

// dhclientRelease stops the client, which gives its prefix back.
func (c *foreign) dhclientRelease() {
	c.h.t.Helper()
	c.h.Run("dhclient " + strings.Join(append(c.dhclientArgs(), "-r", c.link), " "))
}

// dhcpcd starts Roy Marples' client. It has its files to itself, in a mount namespace.
func (h *host) dhcpcd(link, options string) *foreign {
	h.t.Helper()
	c := h.foreign(link, "$new_dhcp6_ia_pd1_prefix1/$new_dhcp6_ia_pd1_prefix1_length $new_dhcp6_name_servers")
	c.file("conf", "ipv6only\nnoipv6rs\nnodelay\noption dhcp6_name_servers\nscript "+c.in("script")+"\n"+options+"\ninterface "+link+"\nia_pd 1 -\n", h)
	c.process = h.start("unshare", "-m", "sh", "-ec", `
		for d in /var/lib/dhcpcd /run/dhcpcd; do
			mkdir -p $d
			mount -t tmpfs none $d
		done
		exec dhcpcd -d -B -f "$0" "$1"`, c.in("conf"), link)
	return c
}

// dhcpcdRelease tells the client to give its prefix back and to end.
func (c *foreign) dhcpcdRelease() {
	c.h.t.Helper()
	if err := c.cmd.Process.Signal(unix.SIGALRM); err != nil {
		c.h.t.Fatal(err)
	}
}
