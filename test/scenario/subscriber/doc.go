// Package subscriber is many PPPoE subscribers on one Ethernet interface, in one process that needs no pppd and no PPP of the kernel: each
// has a MAC address of its own making, finds its access concentrator by package pppoe's codec, and is a client of package ppp. They share
// one packet socket and one goroutine, so that thousands of them are cheap.
//
//	p, err := subscriber.Open(subscriber.Config{Interface: "lac", Pending: 50}) // on a thread in the interface's network namespace
//	p.Dial(slices.Repeat([]subscriber.Call{{Client: client}}, 1000)...)
//	err = p.Wait(ctx, func(t subscriber.Tally) bool { return t.In[subscriber.Up] == 1000 })
//	p.Ping(lns, 56)
//	err = p.Wait(ctx, func(t subscriber.Tally) bool { return t.Pongs == 1000 })
//	p.HangUp()
//	err = p.Close()
package subscriber
