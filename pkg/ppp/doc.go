// Package ppp negotiates one PPP link, at either end: LCP, authentication, CCP for MPPE, IPCP and IPV6CP over the option negotiation
// automaton of RFC 1661. It is pure: frames and time come in, frames, deadlines and events go out as values.
package ppp
