// Package manual makes the man pages, and reads the manuals in Markdown: what they show is held against the programs by tests.
package manual
