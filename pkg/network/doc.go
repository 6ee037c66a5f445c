// Package network keeps addresses, routes and nftables rules of PPP interfaces as desired state: compute the whole, compare
// with what is there, apply the difference.
//
// What is ours is marked in the kernel, so that a daemon that crashed can be cleaned up after and nothing else is ever
// touched: routes and addresses carry protocol 121, and everything of nftables is in one table, inet l2tpd, which never
// changes: whether its rules concern an interface is a matter of the interface's group.
package network
