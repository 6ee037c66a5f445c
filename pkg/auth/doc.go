// Package auth checks what a PPP peer presented against a table of users (S155, S160).
package auth
