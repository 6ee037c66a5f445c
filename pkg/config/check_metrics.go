package config

import "fmt"

// metricsPort is the TCP port of metrics where none is given.
const metricsPort = 9711

func (w *walker) checkMetrics(m *Metrics) {
	w.checkListen("metrics.listen", m.Listen)
	for _, a := range m.Listen {
		if !a.Addr().IsLoopback() {
			w.warnAt("metrics.listen", fmt.Sprintf("metrics: whoever reaches %v can read them, without a login and in clear", a),
				"listen on 127.0.0.1, or see to it that a firewall lets only Prometheus in")
		}
	}
}
