package main

import (
	"os"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// settings are all keys of the running configuration.
func (d *daemon) settings() []api.Setting {
	d.reloading.Lock()
	conf := d.conf
	d.reloading.Unlock()
	hostname, _ := os.Hostname() // without one, the key shows as not the default: it had to be written
	all := []api.Setting{}
	for _, s := range conf.Settings(hostname) {
		all = append(all, api.Setting{Path: s.Path, Value: s.Value, Default: s.Default, Changed: s.Changed, Reload: s.Reload.String()})
	}
	return all
}
