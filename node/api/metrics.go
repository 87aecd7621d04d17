package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/p2pnode/p2pnode/node"
)

// metrics is what /metrics shows: the node's own numbers, those of this API, and the process-wide ones that libp2p
// and the Go runtime register.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	streams  prometheus.Gauge
	gaps     prometheus.Counter
}

func newMetrics(n Node) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "p2pnode_api_requests_total", Help: "API requests answered.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "p2pnode_api_request_duration_seconds", Help: "Time from a request's head to its answer's end.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10}, // a local request takes under 1 ms, a wait seconds
		}, []string{"route", "method"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "p2pnode_api_streams", Help: "Streams open.",
		}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "p2pnode_api_stream_gaps_total", Help: "Times a stream's reader was too slow and got a fresh snapshot.",
		}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.streams, m.gaps, nodeCollector{n})
	return m
}

// observe counts one request. The route is the pattern that matched, so that labels stay few; the method is that of
// the pattern, since a client may invent methods.
func (m *metrics) observe(r *http.Request, status int, took time.Duration) {
	route, method := "none", "other"
	if r.Pattern != "" {
		method, route, _ = strings.Cut(r.Pattern, " ")
	}
	if status == 0 {
		status = http.StatusOK
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route, method).Observe(took.Seconds())
}

// handler answers GET /metrics.
func (m *metrics) handler(log *slog.Logger) http.Handler {
	all := prometheus.Gatherers{m.registry, prometheus.DefaultGatherer}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{
		ErrorLog:      promLogger{log},
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// promLogger gives promhttp's complaints to a slog.Logger.
type promLogger struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (l promLogger) Println(v ...any) { l.log.Warn("metrics: " + fmt.Sprint(v...)) }

// nodeCollector makes Prometheus metrics of node.Metrics at each scrape. It describes nothing beforehand, since the
// node decides what it counts.
type nodeCollector struct{ node Node }

// Describe implements prometheus.Collector.
func (c nodeCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c nodeCollector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.node.Metrics() {
		out <- constMetric(m)
	}
}

func constMetric(m node.Metric) prometheus.Metric {
	names := make([]string, 0, len(m.Labels))
	for name := range m.Labels {
		names = append(names, name)
	}
	slices.Sort(names)
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = m.Labels[name]
	}
	kind := prometheus.GaugeValue
	if m.Kind == node.Counter {
		kind = prometheus.CounterValue
	}
	desc := prometheus.NewDesc(m.Name, m.Help, names, nil)
	metric, err := prometheus.NewConstMetric(desc, kind, m.Value, values...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return metric
}
