package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	golog "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/gologshim"

	"github.com/p2pnode/p2pnode/node"
)

// ownLogger is the name under which the node and its packages log.
const ownLogger = "p2pnode"

// logger makes the logger of the node, and has everything else in the process log through the same handler: libp2p, and
// what uses the standard library's logger. What others say below an error is about ordinary networks, where peers go and
// addresses do not answer, and is shown at level debug only; p2p-config says again, in three lines, what the error of a
// host that does not start says.
func logger(cfg node.LogConfig) (*slog.Logger, error) {
	level, err := golog.LevelFromString(cfg.Level)
	if err != nil {
		return nil, err
	}
	others, silent := golog.LevelError, golog.LevelDPanic
	if level == golog.LevelDebug {
		others, silent = golog.LevelInfo, golog.LevelInfo
	}
	format := golog.PlaintextOutput
	if cfg.Format == "json" {
		format = golog.JSONOutput
	}
	golog.SetupLogging(golog.Config{
		Format: format, Level: others, Stderr: true,
		SubsystemLevels: map[string]golog.LogLevel{ownLogger: level, "p2p-config": silent},
	})
	handler := slog.Handler(readable{golog.SlogHandler()})
	gologshim.SetDefaultHandler(handler)
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(handler.WithAttrs([]slog.Attr{slog.String("logger", "go")}), slog.LevelDebug).Writer())
	return slog.New(handler).With("logger", ownLogger), nil
}

// readable is a handler that gives errors and named values as text: go-log would write {} for an error, and the bytes of
// an id.
type readable struct{ slog.Handler }

func (h readable) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(readableAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, out)
}

func (h readable) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = readableAttr(a)
	}
	return readable{h.Handler.WithAttrs(out)}
}

func (h readable) WithGroup(name string) slog.Handler { return readable{h.Handler.WithGroup(name)} }

func readableAttr(a slog.Attr) slog.Attr {
	value := a.Value.Resolve()
	if value.Kind() != slog.KindAny {
		return a
	}
	switch v := value.Any().(type) {
	case error:
		return slog.String(a.Key, v.Error())
	case fmt.Stringer:
		return slog.String(a.Key, v.String())
	}
	return a
}
