// Package network keeps addresses, routes and nftables rules of PPP interfaces as desired state: compute the whole, compare
// with what is there, apply the difference.
package network
