// Package policy decides: who may connect, with which secret, which call or template an offered call belongs to, which of
// two crossing calls stays, which tunnel is shared. It is pure and immutable.
package policy
