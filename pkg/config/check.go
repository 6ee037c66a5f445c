package config

import (
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// defaultTemplate is the template of calls that name none.
const defaultTemplate = "default"

// complete fills in what a constant default cannot say. It runs after the walk and before the checks.
func (w *walker) complete(c *Config) {
	p := c.Policy
	if p.Server.HostName == "" && w.env.Hostname != nil {
		if name, err := w.env.Hostname(); err == nil {
			p.Server.HostName = name
		}
	}
	if p.Server.HostName == "" && !w.bad["server.hostname"] {
		w.path = "server.hostname"
		w.fault(w.keys["server"], "the host has no name, and server.hostname is not set", "add server: {hostname: NAME}")
	}
	if p.Templates[defaultTemplate] == nil {
		t := &policy.Template{Name: defaultTemplate}
		w.section(schema().children["ppp"].children["templates"], emptyMapping(), "", t)
		t.Auth = nil
		p.Templates[defaultTemplate] = t
	}
	for _, call := range p.Calls {
		if call.Type != policy.CallVirtual {
			call.Method = policy.MethodOCRQ
		}
		if call.PPP.Interface == "" {
			call.PPP.Interface = call.Name
		}
	}
}
