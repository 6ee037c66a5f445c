// Package lac is a LAC that needs no kernel: its tunnels are those of package control, on UDP sockets, and behind each session stands
// a client of package ppp, whose frames travel in user space. Whoever has received something deals with it at once, one at a time, so that
// thousands of sessions are cheap.
//
//	l := lac.Open(lac.Config{Tunnels: []lac.Tunnel{{Conn: conn, LNS: lns}}, Pending: 50})
//	l.Dial(slices.Repeat([]lac.Call{{Client: client}}, 1000)...)
//	err := l.Wait(ctx, func(t lac.Tally) bool { return t.In[lac.Up] == 1000 })
//	l.HangUp()
//	err = l.Close(ctx)
package lac
