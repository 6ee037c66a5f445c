package kernel

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// release is a kernel version as kernel.org counts it.
type release struct{ major, minor, patch int }

func (r release) String() string { return fmt.Sprintf("%d.%d.%d", r.major, r.minor, r.patch) }

// atLeast reports whether r is the given version or newer.
func (r release) atLeast(major, minor, patch int) bool {
	switch {
	case r.major != major:
		return r.major > major
	case r.minor != minor:
		return r.minor > minor
	}
	return r.patch >= patch
}

// series reports whether r belongs to a stable series.
func (r release) series(major, minor int) bool { return r.major == major && r.minor == minor }

var (
	releaseText = regexp.MustCompile(`^(\d+)\.(\d+)(?:\.(\d+))?`)
	debianText  = regexp.MustCompile(`\bDebian (\d+\.\d+(?:\.\d+)?)`)
)

// parseRelease finds the kernel.org version. Debian's release names its ABI ("6.1.0-50-amd64") and its build the version;
// Ubuntu has it at the end of /proc/version_signature, which is empty elsewhere.
func parseRelease(name, build, signature string) (release, bool) {
	if m := debianText.FindStringSubmatch(build); m != nil {
		name = m[1]
	} else if f := strings.Fields(signature); len(f) > 0 {
		name = f[len(f)-1]
	}
	m := releaseText.FindStringSubmatch(name)
	if m == nil {
		return release{}, false
	}
	var r release
	r.major, _ = strconv.Atoi(m[1])
	r.minor, _ = strconv.Atoi(m[2])
	r.patch, _ = strconv.Atoi(m[3]) // absent: 0, the oldest
	return r, true
}

// featuresOf says what a version can do. Backports that a distribution made under an old number are not seen here.
func featuresOf(name, build, signature string) Features {
	f := Features{Release: name}
	r, ok := parseRelease(name, build, signature)
	if !ok {
		f.Advice = fmt.Sprintf("kernel release %q is not understood: the features of 6.1 are assumed", name)
		return f
	}
	f.NewCore = r.atLeast(6, 11, 0)
	switch {
	case r.series(6, 1):
		f.Reinjects = r.patch >= 190
	case r.series(6, 12):
		f.Reinjects = r.patch >= 110
	default:
		f.Reinjects = r.atLeast(7, 3, 0)
	}
	minimum := release{6, 12, 110}
	if !r.atLeast(6, 2, 0) {
		minimum = release{6, 1, 190}
	}
	// 6.6 carries the same fixes under numbers of its own.
	if !r.atLeast(minimum.major, minimum.minor, minimum.patch) && !r.series(6, 6) {
		f.BelowMinimum = true
		f.Advice = fmt.Sprintf("kernel %v is older than %v: closing a busy session may use freed memory, and frames may be "+
			"lost while an interface is attached; update the kernel", r, minimum)
	}
	return f
}
