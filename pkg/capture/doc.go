// Package capture writes what the daemon exchanges with its peers as a pcapng
// file, which Wireshark and tshark read: L2TP with IP and UDP headers made up
// around it, and PPP frames of access lines. It knows no secrets: what is given
// to it has been masked.
package capture
