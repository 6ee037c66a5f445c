// Package radius is the RADIUS side of a network access server that is LNS and LAC: it asks servers about logins and about realms
// (RFC 2865, 2868, 2869, 3162, 4818, 6911, 2548), accounts for sessions (RFC 2866) and obeys Disconnect and CoA requests
// (RFC 5176).
//
// A Client asks and accounts; a Listener takes the servers' own requests. Both are safe for concurrent use, and neither writes a
// secret, a password or a key into an error, a log line or a file. What comes from the network is authenticated before anything is
// kept of it, and all that waits is bounded.
package radius
