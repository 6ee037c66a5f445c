// Package resolve finds the addresses of host names: of peers that are configured by name, and of the LNS that a user's domain
// names (S95, S103, S181).
//
// It is not the system's resolver because what depends on it must know how long an answer holds, and must not lose its LNSs while
// the name servers are down: answers are kept for their TTL, and for a while longer if nobody can be asked. The names come from
// users who have not logged in: what is kept of them is bounded, and those that do not exist cannot displace those that do.
package resolve
