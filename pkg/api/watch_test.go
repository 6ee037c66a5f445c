package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// One who watches reads the counters of each session once, not once more for their sum.
func TestWatchReadsTheKernelOnce(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	c, _ := serve(t, b)
	got, err := api.Watch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got.Status == nil || len(got.Tunnels) != 3 || len(got.Sessions) != 5 || got.Sessions[0].Data == nil || got.APIVersion != "v1" {
		t.Errorf("got %+v", got)
	}
	want := []api.Query{{Status: true}, {Tunnels: true}, {Sessions: true, Stats: true}}
	if d := cmp.Diff(want, b.Queries()); d != "" {
		t.Errorf("queries (-want +got):\n%s", d)
	}
}

func TestStatsIsTrueOrFalse(t *testing.T) {
	t.Parallel()
	_, path := serve(t, apitest.New(picture()))
	for _, what := range []string{"status", "sessions"} {
		code, body := raw(t, path, http.MethodGet, "/v1/"+what+"?stats=maybe", "")
		if code != http.StatusBadRequest || !strings.Contains(body, "stats is true or false") {
			t.Errorf("%s: %d, %s", what, code, body)
		}
	}
}
