// Package golden compares what a test got with files under its testdata. With the flag -update it writes them anew.
package golden
