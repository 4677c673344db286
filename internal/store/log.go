package store

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// core hands what etcd logs with zap to slog. etcd's information and warnings
// are about its own tuning, so they are debug lines here.
type core struct {
	log    *slog.Logger
	end    func(message string, fields []zapcore.Field) // told why the member stops
	fields []zapcore.Field
}

func level(l zapcore.Level) slog.Level {
	if l >= zapcore.ErrorLevel {
		return slog.LevelError
	}
	return slog.LevelDebug
}

// usual are errors to etcd that are the ordinary course of a member that is
// founded, or closed.
var usual = map[string]bool{
	"failed to update storage version":              true, // before the first snapshot there is none
	"setting up serving from embedded etcd failed.": true, // its listener was closed
	"failed to serve peer traffic, listener closed": true,
}

// Enabled is part of zapcore.Core.
func (c core) Enabled(l zapcore.Level) bool {
	return l > zapcore.InfoLevel || l == zapcore.InfoLevel && c.log.Enabled(context.Background(), level(l))
}

// With is part of zapcore.Core.
func (c core) With(fields []zapcore.Field) zapcore.Core {
	c.fields = append(c.fields[:len(c.fields):len(c.fields)], fields...)
	return c
}

// Check is part of zapcore.Core.
func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write is part of zapcore.Core.
func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range c.fields {
		f.AddTo(m)
	}
	for _, f := range fields {
		f.AddTo(m)
	}
	if e.Message == "server error" {
		c.end("the member stopped", fields)
	}
	at := level(e.Level)
	if usual[e.Message] {
		at = slog.LevelDebug
	}
	c.log.LogAttrs(context.Background(), at, "etcd",
		slog.String("message", e.Message), slog.Any("fields", m.Fields))
	return nil
}

// Sync is part of zapcore.Core.
func (core) Sync() error { return nil }
