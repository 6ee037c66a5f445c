// Package docs holds the operator's and the developer's manuals. Its tests keep what they say true.
package docs
