package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kernel is one unpacked Debian kernel in the cache.
type kernel struct {
	series  string
	release string // as uname -r says
	dir     string
}

func (k kernel) image() string   { return filepath.Join(k.dir, "vmlinuz") }
func (k kernel) modules() string { return filepath.Join(k.dir, "modules") }

// wantedModules are the parts of a kernel package that a network test may
// need. The rest, graphics and the like, is nine tenths of it.
var wantedModules = []string{
	"arch", "block", "crypto", "lib", "mm", "net", "virt", "fs/9p", "fs/netfs", "fs/fscache", "fs/overlayfs",
	"drivers/block", "drivers/char", "drivers/crypto", "drivers/net", "drivers/tty", "drivers/virtio", "drivers/vhost",
}

// unwantedModules are exceptions to wantedModules.
var unwantedModules = []string{"drivers/net/ethernet", "drivers/net/wireless"}

// cacheDir is where kernels are kept; it need not exist.
func cacheDir() (string, error) {
	if dir := os.Getenv("L2TPD_CACHE"); dir != "" {
		return filepath.Abs(filepath.Join(dir, "kernels"))
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "l2tpd", "kernels"), nil
}

// getKernel returns the newest cached kernel of a series. Without one, or when
// asked to update, it fetches the newest that apt offers.
func getKernel(cache, series string, update bool) (kernel, error) {
	cached, err := cachedKernels(cache, series)
	if err != nil {
		return kernel{}, err
	}
	if len(cached) > 0 && !update {
		return cached[0], nil
	}
	packages, err := offeredKernels(series)
	if err != nil {
		return kernel{}, err
	}
	var failed error
	for _, p := range packages {
		k := kernel{series: series, release: p.release, dir: filepath.Join(cache, p.release)}
		if slices.Contains(cached, k) {
			return k, nil
		}
		fmt.Fprintf(os.Stderr, "guest: fetching %s\n", p.name)
		if err := fetchKernel(k, p.name); err != nil {
			failed = errors.Join(failed, fmt.Errorf("kernel %s: %w", p.name, err))
			continue
		}
		return k, nil
	}
	return kernel{}, failed
}

// cachedKernels returns what the cache holds of a series, newest first.
func cachedKernels(cache, series string) ([]kernel, error) {
	entries, err := os.ReadDir(cache)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var out []kernel
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), series+".") && strings.HasSuffix(e.Name(), "-amd64") {
			out = append(out, kernel{series: series, release: e.Name(), dir: filepath.Join(cache, e.Name())})
		}
	}
	slices.SortFunc(out, func(a, b kernel) int { return compareReleases(b.release, a.release) })
	return out, nil
}

// offer is a kernel package that apt knows of.
type offer struct{ name, release string }

// offeredKernels asks apt; as root it refreshes apt's lists when they have nothing.
func offeredKernels(series string) ([]offer, error) {
	search := func() ([]offer, error) {
		out, err := output("apt-cache", "search", "--names-only", "^linux-image-"+regexp.QuoteMeta(series)+"[.]")
		return parseOffers(series, out), err
	}
	found, err := search()
	if err == nil && len(found) == 0 && os.Geteuid() == 0 {
		if _, err = output("apt-get", "update", "-q"); err == nil {
			found, err = search()
		}
	}
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no linux-image-%s package: is this Debian 12 or later, and are apt's lists fresh?", series)
	}
	return found, err
}

// parseOffers picks the plain amd64 kernels out of apt-cache's answer, newest
// first and signed before unsigned; at most four, since all are alike to a test.
func parseOffers(series, list string) []offer {
	re := regexp.MustCompile(`^linux-image-(` + regexp.QuoteMeta(series) + `\.[0-9][0-9a-z.+~-]*-amd64)(-unsigned)?$`)
	var out []offer
	for line := range lines(list) {
		name, _, _ := strings.Cut(line, " ")
		m := re.FindStringSubmatch(name)
		if m == nil || strings.Contains(m[1], "-rt-") || strings.Contains(m[1], "-cloud-") {
			continue
		}
		out = append(out, offer{name: name, release: m[1]})
	}
	slices.SortFunc(out, func(a, b offer) int {
		return cmp.Or(compareReleases(b.release, a.release), cmp.Compare(len(a.name), len(b.name)))
	})
	return out[:min(len(out), 4)]
}

var digits = regexp.MustCompile(`[0-9]+`)

// compareReleases orders kernel releases by their numbers.
func compareReleases(a, b string) int {
	numbers := func(s string) (out []int) {
		for _, d := range digits.FindAllString(s, -1) {
			n, _ := strconv.Atoi(d) // digits only; an absurd length sorts low
			out = append(out, n)
		}
		return out
	}
	return cmp.Or(slices.Compare(numbers(a), numbers(b)), cmp.Compare(a, b))
}

// fetchKernel downloads a package and unpacks what a guest needs of it. The
// result appears in the cache by one rename, so it is whole or absent.
func fetchKernel(k kernel, pkg string) error {
	if err := os.MkdirAll(filepath.Dir(k.dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(k.dir), ".fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil { // apt drops privileges to download
		return err
	}
	if _, err := outputIn(tmp, "apt-get", "download", "-q", pkg); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("expected one package file, got %v: %w", debs, err)
	}
	if _, err := output("dpkg", "-x", debs[0], filepath.Join(tmp, "x")); err != nil {
		return err
	}
	done := filepath.Join(tmp, "done")
	if err := arrange(k.release, filepath.Join(tmp, "x"), done); err != nil {
		return err
	}
	err = os.Rename(done, k.dir)
	if errors.Is(err, os.ErrExist) { // another run was faster
		return nil
	}
	return err
}

// arrange makes dst/vmlinuz and dst/modules out of an unpacked package: the
// wanted modules only, not compressed (that is slow under emulation), indexed.
func arrange(release, src, dst string) error {
	from := filepath.Join(src, "lib/modules", release)
	if _, err := os.Stat(from); err != nil { // merged /usr
		from = filepath.Join(src, "usr/lib/modules", release)
	}
	base := filepath.Join(dst, "lib/modules", release)
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	for _, sub := range unwantedModules {
		if err := os.RemoveAll(filepath.Join(from, "kernel", sub)); err != nil {
			return err
		}
	}
	for _, sub := range wantedModules {
		if err := moveInto(from, base, filepath.Join("kernel", sub)); err != nil {
			return err
		}
	}
	for _, f := range []string{"modules.builtin", "modules.builtin.modinfo", "modules.order"} {
		if err := moveInto(from, base, f); err != nil {
			return err
		}
	}
	if err := moveInto(filepath.Join(src, "boot"), dst, "vmlinuz-"+release); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dst, "vmlinuz-"+release), filepath.Join(dst, "vmlinuz")); err != nil {
		return err
	}
	if err := decompress(base); err != nil {
		return err
	}
	if _, err := output("depmod", "-b", dst, release); err != nil {
		return err
	}
	if err := os.Rename(base, filepath.Join(dst, "modules")); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dst, "lib"))
}

// moveInto moves one file or directory, if it is there, keeping its relative path.
func moveInto(from, to, rel string) error {
	if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755); err != nil {
		return err
	}
	err := os.Rename(filepath.Join(from, rel), filepath.Join(to, rel))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// decompress unpacks every compressed module below dir in place.
func decompress(dir string) error {
	packed := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err == nil && (ext == ".xz" || ext == ".zst") {
			packed[ext] = append(packed[ext], path)
		}
		return err
	})
	if err != nil {
		return err
	}
	tools := map[string][]string{".xz": {"xz", "-d", "-q", "--"}, ".zst": {"zstd", "-d", "-q", "--rm", "--"}}
	for ext, files := range packed {
		for chunk := range slices.Chunk(files, 500) {
			if _, err := output(append(tools[ext], chunk...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func output(argv ...string) (string, error) { return outputIn("", argv...) }

// outputIn runs a program in dir; its error carries what the program said.
func outputIn(dir string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var said string
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			said = ": " + strings.TrimSpace(string(exit.Stderr))
		}
		return "", fmt.Errorf("%s: %w%s", strings.Join(argv[:min(len(argv), 3)], " "), err, said)
	}
	return string(out), nil
}
