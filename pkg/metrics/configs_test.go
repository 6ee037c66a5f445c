package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/health"
)

var (
	metricOf = regexp.MustCompile(`\b(l2tp_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matchOf  = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	groupOf  = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	labelOf  = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}`)
)

// checkExpr checks that every metric and label in an expression exists, and returns the labels that its result may have.
func checkExpr(t *testing.T, where, expr string) (labels []string) {
	t.Helper()
	labels = []string{"instance", "job"} // of the scrape
	for _, m := range metricOf.FindAllStringSubmatch(expr, -1) {
		i := slices.IndexFunc(table(), func(x metric) bool {
			return x.kind != histogram && x.name == m[1] ||
				x.kind == histogram && slices.Contains([]string{x.name + "_bucket", x.name + "_sum", x.name + "_count"}, m[1])
		})
		if i < 0 {
			t.Errorf("%s: there is no metric %s", where, m[1])
			continue
		}
		own := append([]string{"instance", "job"}, table()[i].labels...)
		if strings.HasSuffix(m[1], "_bucket") {
			own = append(own, "le")
		}
		labels = append(labels, own...)
		for _, l := range matchOf.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(own, l[1]) {
				t.Errorf("%s: %s has no label %s", where, m[1], l[1])
			}
			if l[1] == "name" && !slices.Contains(health.Names(), l[3]) {
				t.Errorf("%s: there is no condition %s", where, l[3])
			}
		}
	}
	for _, g := range groupOf.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if !slices.Contains(labels, strings.TrimSpace(l)) {
				t.Errorf("%s: no metric here has the label %s", where, l)
			}
		}
	}
	return labels
}

// checkText checks the labels that a text shows.
func checkText(t *testing.T, where, text string, labels []string) {
	t.Helper()
	for _, l := range labelOf.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(labels, l[1]) {
			t.Errorf("%s: %q: no metric here has the label %s", where, text, l[1])
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	t.Parallel()
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For string
				Labels           map[string]string
				Annotations      map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(read(t, "../../configs/prometheus/l2tpd.rules.yml"))))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || slices.Contains(names, r.Alert) {
				t.Errorf("alert %q has no name of its own", r.Alert)
			}
			names = append(names, r.Alert)
			labels := checkExpr(t, r.Alert, r.Expr)
			for _, a := range []string{"summary", "action"} {
				if r.Annotations[a] == "" {
					t.Errorf("%s has no %s", r.Alert, a)
				}
				checkText(t, r.Alert, r.Annotations[a], labels)
			}
			if !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
		}
	}
	if len(names) == 0 {
		t.Error("there are no alerts")
	}
}

func TestTheDashboardShowsMetricsThatExist(t *testing.T) {
	t.Parallel()
	var board struct {
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y int }
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(read(t, "../../configs/grafana/l2tpd.json"), &board); err != nil {
		t.Fatal(err)
	}
	places, variables := map[[2]int]string{}, []string{"__rate_interval"}
	for _, v := range board.Templating.List {
		variables = append(variables, v.Name)
		if q, ok := v.Query.(map[string]any); ok {
			checkExpr(t, v.Name, q["query"].(string))
		}
	}
	used := regexp.MustCompile(`\$([a-z_]+)`)
	for _, p := range board.Panels {
		if at := [2]int{p.GridPos.X, p.GridPos.Y}; places[at] != "" || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d, %q, is over %q, or empty", p.ID, p.Title, places[at])
		} else {
			places[at] = p.Title
		}
		for _, x := range p.Targets {
			checkText(t, p.Title, x.LegendFormat, checkExpr(t, p.Title, x.Expr))
			for _, v := range used.FindAllStringSubmatch(x.Expr, -1) {
				if !slices.Contains(variables, v[1]) {
					t.Errorf("%s: there is no variable %s", p.Title, v[1])
				}
			}
		}
	}
	if len(places) == 0 {
		t.Error("there are no panels")
	}
}
