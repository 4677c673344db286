package mariadb_test

import (
	"context"
	"os"
	"syscall"
	"time"

	"aloft/internal/components/mariadb"
	"aloft/value"
)

// Data that came from elsewhere have the very password that root is to have, and
// no way in without it: whoever pings has none.
func rootIsLetInOnItsMachine(in *inside) {
	in.root("SET PASSWORD FOR root@localhost = PASSWORD('x')") // which leaves one way in
	in.root("ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING '" + in.root("SELECT JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv WHERE User = 'root' AND Host = '%'") + "'")
	if err := in.s.m.Ping(in.Context(), in.s.call); err == nil {
		in.Error("root needs no password already")
	}
	if err := in.s.m.Start(in.Context(), in.s.call); err != nil {
		in.Error(err)
	}
	if err := in.s.m.Ping(in.Context(), in.s.call); err != nil {
		in.Error(err)
	}
}

// In another server they are made anew. The user in the former one is ended, and
// the database stays there: a change takes nobody's data. At another address of
// the same server both are what they were.
func movedToAnotherServer(in *inside) {
	m, end := daemon(in.T)
	defer end()
	other := freshServer(in, m)
	other.s.run()
	defer other.s.end()
	database := func(of *value.Component) *value.Component {
		return attrs("server", of, "name", value.String("base"), "keepOnTerminate", value.Bool(false))
	}
	user := func(of *value.Component) *value.Component {
		return attrs("server", of, "name", value.String("mover"), "password", value.String("pw"), "grants", texts("ALL on base"))
	}
	d, u := serve(in.T, mariadb.Databases{}, "a:base", database(in.as(true))), serve(in.T, mariadb.Users{}, "a:user", user(in.as(true)))
	d.run()
	u.run()
	in.root("CREATE TABLE base.t (n INT)")
	move := func(to *value.Component) {
		in.Helper()
		for _, err := range []error{d.change(database(to)), u.change(user(to)), d.m.Ping(in.Context(), d.call), u.m.Ping(in.Context(), u.call)} {
			if err != nil {
				in.Error(err)
			}
		}
	}
	const count = "SELECT CONCAT((SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'base'), (SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'mover'), (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'base'))"
	for _, local := range []bool{false, true, false} {
		if move(in.as(local)); in.root(count) != "111" {
			in.Errorf("at another address of the same server there are %s", in.root(count))
		}
	}
	if move(other.as(true)); in.root(count) != "101" || other.root(count) != "110" {
		in.Errorf("%s are in the former server, %s in the new one", in.root(count), other.root(count))
	}
	move(other.as(false))
	d.end()
	u.end()
	if in.root(count) != "101" || other.root(count) != "000" {
		in.Errorf("%s are left in the former server, %s in the new one", in.root(count), other.root(count))
	}
	in.root("DROP DATABASE base")
}

// A change that failed and is then cancelled on the way back ends soon: here
// the server as it was hangs while it starts.
func wayBackIsCutOff(in *inside) {
	const script, start = "/srv/init.sql", "DO 1;\n"
	if err := os.WriteFile(script, []byte(start), 0o644); err != nil {
		in.Fatal(err)
	}
	m, end := daemon(in.T)
	defer end()
	other := freshServer(in, m)
	with := func(more ...any) *value.Component {
		set := attrs(append([]any{"init_file", value.String(script)}, more...)...)
		set.Data = true
		return attrs("port", other.port, "bind", value.String("127.0.0.1"), "rootPassword", value.String(nasty), "keepOnTerminate", value.Bool(false), "settings", set)
	}
	other.s.call.Attrs = with()
	other.s.run()
	defer other.s.end()
	if err := os.Remove(script); err != nil {
		in.Fatal(err)
	}
	if err := syscall.Mkfifo(script, 0o644); err != nil {
		in.Fatal(err)
	}
	c := *other.s.call
	c.Old, c.Attrs = c.Attrs, with("innodb_page_size", value.Integer(4096)) // which its data do not have
	ctx, cancel := context.WithCancel(in.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- m.Reconfigure(ctx, &c) }()
	var pipe *os.File
	eventually(in.T, "the server as it was waits for its script", func() bool {
		var err error
		pipe, err = os.OpenFile(script, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	cancel()
	begun := time.Now()
	err := <-done
	if d := time.Since(begun); d > 25*time.Second {
		in.Errorf("it went on for %s after it was cancelled", d)
	}
	if err == nil {
		in.Error("a server whose data have other pages is changed")
	}
	if _, err := pipe.WriteString(start); err != nil {
		in.Error(err)
	}
	pipe.Close()
	if err := os.Remove(script); err != nil {
		in.Error(err)
	}
	if err := os.WriteFile(script, []byte(start), 0o644); err != nil {
		in.Error(err)
	}
	if err := m.Start(in.Context(), other.s.call); err != nil {
		in.Errorf("started again as it was: %v", err)
	}
	if got := other.root("SELECT @@innodb_page_size"); got != "16384" {
		in.Errorf("its pages are of %s", got)
	}
}
