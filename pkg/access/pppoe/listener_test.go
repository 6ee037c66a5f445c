package pppoe

import (
	"strings"
	"testing"
)

type nobody struct{}

func (nobody) Offered(Offer)        {}
func (nobody) Ended(uint16, string) {}
func (nobody) Down(string)          {}
func (nobody) Up()                  {}

func TestListenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, change := range map[string]func(*Config){
		"nobody to tell":       func(c *Config) { c.Handler = nil },
		`on ""`:                func(c *Config) { c.Interface = "" },
		"no name":              func(c *Config) { c.Interface = "much-too-long-for-linux" },
		"service name \"a\" i": func(c *Config) { c.ServiceNames = []string{"a", "a"} },
	} {
		cfg := Config{Interface: "eth1", Handler: nobody{}}
		change(&cfg)
		if l, err := Listen(cfg); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, %v", text, l, err)
		}
	}
}
