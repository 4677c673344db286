package daemon

import (
	"log/slog"
	"maps"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/components/apache"
	"aloft/internal/components/archive"
	"aloft/internal/components/certificate"
	"aloft/internal/components/check"
	"aloft/internal/components/compound"
	"aloft/internal/components/configfile"
	"aloft/internal/components/directory"
	"aloft/internal/components/download"
	"aloft/internal/components/executables"
	"aloft/internal/components/file"
	"aloft/internal/components/haproxy"
	"aloft/internal/components/hostentry"
	"aloft/internal/components/java"
	"aloft/internal/components/mariadb"
	"aloft/internal/components/mediawiki"
	"aloft/internal/components/nginx"
	"aloft/internal/components/pkg"
	"aloft/internal/components/process"
	"aloft/internal/components/redis"
	"aloft/internal/components/repository"
	"aloft/internal/components/script"
	services "aloft/internal/components/service"
	"aloft/internal/components/software"
	"aloft/internal/components/sysctl"
	"aloft/internal/components/tomcat"
	"aloft/internal/components/user"
	"aloft/internal/components/vm"
	"aloft/internal/components/webapp"
	"aloft/internal/components/website"
	"aloft/internal/components/workflow"
	"aloft/internal/host"
)

// registry is the component classes of this build. It implements
// plan.Classes.
type registry struct {
	managers map[string]component.Manager // by native name
	names    map[string]string            // native and other names, to native ones
}

func newRegistry(managers ...component.Manager) *registry {
	r := &registry{managers: map[string]component.Manager{}, names: map[string]string{}}
	for _, m := range managers {
		class := m.Class()
		r.managers[class.Name] = m
		r.names[class.Name] = class.Name
		for _, alias := range class.Aliases {
			r.names[alias] = class.Name
		}
	}
	return r
}

// Class returns the class called name, natively or by an alias.
func (r *registry) Class(name string) (component.Class, bool) {
	m, ok := r.managers[r.names[name]]
	if !ok {
		return component.Class{}, false
	}
	return m.Class(), true
}

// Names returns the native names of classes, sorted.
func (r *registry) Names() []string { return slices.Sorted(maps.Keys(r.managers)) }

// Class describes the component class that sfClass names.
func Class(name string) (component.Class, bool) {
	return newRegistry(append(machineManagers(tools{}, ""), vm.New(vm.Config{}))...).Class(strings.TrimSpace(name))
}

// Classes lists the component classes of this build, by name.
func Classes() []component.Class {
	r := newRegistry(append(machineManagers(tools{}, ""), vm.New(vm.Config{}))...)
	var list []component.Class
	for _, name := range r.Names() {
		list = append(list, r.managers[name].Class())
	}
	return list
}

// tools are what managers share to act on their host.
type tools struct {
	processes *host.Processes
	packages  *host.Packages
}

func newTools(log *slog.Logger) tools {
	return tools{processes: host.NewProcesses(log), packages: host.NewPackages(log)}
}

// machineManagers are the managers of the classes that act on the machine a
// component is placed on. To add one, add it here.
func machineManagers(t tools, binary string) []component.Manager {
	return append([]component.Manager{
		apache.New(t.processes, t.packages),
		archive.New(),
		certificate.New(),
		check.HTTP{},
		check.TCP{},
		compound.New(),
		configfile.New(),
		directory.New(),
		download.New(),
		executables.New(),
		file.New(),
		haproxy.New(t.processes, t.packages),
		hostentry.New(),
		java.New(t.packages),
		mariadb.New(t.processes, t.packages),
		mariadb.Databases{},
		mariadb.Users{},
		mariadb.Scripts{},
		mediawiki.New(t.processes, t.packages),
		nginx.New(t.processes, t.packages),
		pkg.New(t.packages),
		process.New(t.processes),
		redis.New(t.processes, t.packages),
		repository.New(t.packages),
		script.New(),
		services.New(t.processes),
		software.New(),
		sysctl.New(),
		tomcat.New(t.processes, t.packages),
		user.New(),
		webapp.New(),
		website.New(t.processes, binary),
	}, workflow.New()...)
}
