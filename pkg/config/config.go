package config

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/l2tpd/l2tpd/configs"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Config is one valid configuration. It is immutable by convention: a reload loads a new one.
type Config struct {
	Policy   *policy.Policy
	API      API
	Log      Log
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
	ReadFile       func(name string) ([]byte, error) // for {file: ...} and {credential: ...}
	CredentialsDir string                            // $CREDENTIALS_DIRECTORY of systemd
	Hostname       func() (string, error)            // default of server.hostname
	Shared         bool                              // the configuration is readable by others: literal secrets are warned of
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
	env := Env{ReadFile: os.ReadFile, CredentialsDir: os.Getenv("CREDENTIALS_DIRECTORY"), Hostname: os.Hostname}
	if st, err := os.Stat(path); err == nil {
		env.Shared = st.Mode().Perm()&fs.FileMode(0o004) != 0
	}
	return Parse(path, data, env)
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
