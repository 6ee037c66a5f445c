// Package wire encodes and decodes L2TPv2 headers, control messages and AVPs (RFC 2661, sections 3 and 4), from one
// catalogue table. It is pure: no clock, no socket, no logging.
package wire
