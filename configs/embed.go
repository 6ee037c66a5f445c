// Package configs holds the annotated reference configuration and the examples that the tests run.
package configs

import _ "embed" // the reference is part of the binary

//go:embed l2tpd.yaml
var reference []byte

// Reference is the annotated configuration file with every key and its default. The caller must not change it.
func Reference() []byte { return reference }
