// Package deps holds the tree to its architecture: which package may import
// which, what the deciding packages may not do, and how large things may grow.
// It reads the source itself, so that a package that does not build, or that
// is not yet written, is no obstacle.
package deps
