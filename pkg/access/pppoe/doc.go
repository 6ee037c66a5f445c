// Package pppoe is the discovery side of a PPPoE access concentrator (RFC 2516, RFC 4638): PADI, PADO, PADR, PADS and PADT on
// one Ethernet interface, and what an access node tells of the subscriber's line (TR-101, RFC 4679). The frames of sessions are
// the kernel's; the owner makes its objects.
//
// An AC decides without socket and clock. The Listener around it reads, sends and waits.
package pppoe
