package config

import (
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"

	"github.com/l2tpd/l2tpd/configs"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Config is one valid configuration. It is immutable by convention: a reload loads a new one.
type Config struct {
	Policy   *policy.Policy
	API      API
	Log      Log
	Metrics  Metrics
	Warnings []Diagnostic
	Path     string // as given to Load or Parse
}

// API is the operator's socket.
type API struct {
	Socket string // path of the unix socket
	Group  string // who may connect beside root; empty: root only
}

// Log is what the daemon writes.
type Log struct{ Level Level }

// Metrics is where Prometheus finds the daemon, beside the operator's socket.
type Metrics struct {
	Listen []netip.AddrPort // TCP; empty: nowhere
}

// Level is the least severe log line that is written.
type Level uint8

// Levels.
const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarn
	LevelError
)

// String gives the word of the configuration: debug, info, warn, error.
func (l Level) String() string {
	switch l {
	case LevelDebug:
		return "debug"
	case LevelInfo:
		return "info"
	case LevelWarn:
		return "warn"
	case LevelError:
		return "error"
	}
	return "unknown"
}

// MarshalText gives String.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Env is what a configuration may ask of its surroundings. Every field may be zero: then what needs it is an error of the
// configuration at the place that asked.
type Env struct {
	// ReadSecret reads the file of a {file: ...} or {credential: ...}; shared: others may read it, which is warned of.
	ReadSecret     func(name string) (octets []byte, shared bool, err error)
	CredentialsDir string                 // $CREDENTIALS_DIRECTORY of systemd
	Hostname       func() (string, error) // default of server.hostname
	Shared         bool                   // the configuration is readable by others: literal secrets are warned of
}

// Load reads and checks the file at path. An error is Errors, also when the file cannot be read.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, Errors{{
			File:    path,
			Message: "cannot read the configuration: " + cause(err),
			Advice:  "give the path of a file that this user may read",
		}}
	}
	env := Env{ReadSecret: readSecret, CredentialsDir: os.Getenv("CREDENTIALS_DIRECTORY"), Hostname: os.Hostname}
	if st, err := os.Stat(path); err == nil {
		env.Shared = shared(st)
	}
	return Parse(path, data, env)
}

// shared says that others may read a file.
func shared(st fs.FileInfo) bool { return st.Mode().Perm()&0o004 != 0 }

// longestFile bounds what is read of a secret's file: more octets than any secret may have.
const longestFile = 4096

// Errors of readSecret.
var (
	errNotRegular = errors.New("not a regular file")
	errFileTooBig = errors.New("longer than 4 KiB")
)

// readSecret is the ReadSecret of the real files. A FIFO would be waited for, a device read without end: only a regular file is
// opened.
func readSecret(name string) (octets []byte, isShared bool, err error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, false, err
	}
	if !st.Mode().IsRegular() {
		return nil, false, &fs.PathError{Op: "read", Path: name, Err: errNotRegular}
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	octets, err = io.ReadAll(io.LimitReader(f, longestFile+1))
	if err == nil && len(octets) > longestFile {
		err = &fs.PathError{Op: "read", Path: name, Err: errFileTooBig}
	}
	return octets, shared(st), err
}

// Parse checks the YAML text data; name is its file name for messages, and relative {file: ...} paths start at its folder.
// An error is Errors: everything that is wrong, warnings among it, ordered by position. It never panics.
func Parse(name string, data []byte, env Env) (*Config, error) {
	src := newSource(name, data)
	root, fault := src.parse()
	if fault != nil {
		return nil, Errors{*fault}
	}
	w := newWalker(src, env, filepath.Dir(name))
	c := &Config{Policy: emptyPolicy(), Path: name}
	w.document(root, c)
	w.complete(c)
	w.check(c)
	errs, warnings := w.diagnostics()
	if errs {
		return nil, Errors(warnings)
	}
	c.Warnings = warnings
	return c, nil
}

// Reference is the annotated configuration file with every key and its default.
func Reference() []byte { return configs.Reference() }

func emptyPolicy() *policy.Policy {
	return &policy.Policy{
		Calls:     map[string]*policy.Call{},
		Templates: map[string]*policy.Template{},
		Users:     map[string]*policy.User{},
		Pools:     map[string]*policy.Pool{},
	}
}
