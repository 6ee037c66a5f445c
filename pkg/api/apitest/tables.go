package apitest

import "github.com/l2tpd/l2tpd/pkg/api"

// fillTables puts what q asks of the tables into out.
func fillTables(out, picture *api.Snapshot, q api.Query) {
	if q.Accept {
		out.Accept = all(picture.Accept)
	}
	if q.Rules {
		out.Rules = all(picture.Rules)
	}
	if q.Pools {
		out.Pools = all(picture.Pools)
		for i := range out.Pools {
			if !q.Leases {
				out.Pools[i].Leases = nil
			}
		}
	}
	if q.Peers {
		out.Peers = all(picture.Peers)
	}
	if q.Debugs {
		out.Debugs = all(picture.Debugs)
	}
	if q.Settings {
		out.Settings = all(picture.Settings)
	}
}

func all[T any](items []T) []T { return keep(items, func(*T) bool { return true }) }
