package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
)

const (
	headerTimeout = 5 * time.Second
	mostHeader    = 16 << 10
	// goodbye is how long requests may take that are under way at the end.
	goodbye = 3 * time.Second
)

// CheckWebConfig tells what is wrong with a file of TLS and basic auth, in exporter-toolkit's format; "" is none.
func CheckWebConfig(file string) error {
	if err := web.Validate(file); err != nil {
		return fmt.Errorf("%w (https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md)", err)
	}
	return nil
}

// Serve answers until ctx ends. The file of TLS and basic auth is read anew for each connection.
func Serve(ctx context.Context, l net.Listener, c Config, webConfig string) error {
	server := &http.Server{Handler: Handler(c), ReadHeaderTimeout: headerTimeout, ReadTimeout: 2 * headerTimeout,
		WriteTimeout: MostProfile + time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: mostHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn)}
	over := make(chan error, 1)
	go func() { over <- web.Serve(l, server, &web.FlagConfig{WebConfigFile: &webConfig}, c.Log) }()
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if err := server.Shutdown(last); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
