// Package api is the local control interface of l2tpd: its types, its server and its client, HTTP/JSON over a unix socket.
//
// The server knows nothing of tunnels: it checks who asks (peer credentials), resolves the names an operator types to ids, and
// hands the rest to a Backend. Reading is free for every process that may open the socket and belongs to its group; acting is
// for root and for the daemon's own user.
//
// A capture (POST /v1/capture) is the one answer that is not JSON: a pcapng file that grows until the capture ends.
//
// The JSON is versioned (APIVersion). Within a version fields are only added, never renamed or removed.
package api
