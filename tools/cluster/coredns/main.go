// Command coredns is CoreDNS with the plugins that our Corefile names, and no others: all of them are 1,300 packages.
package main

import (
	"slices"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	// The order of CoreDNS's own directives is kept: it is the order in which plugins see a query.
	wanted := []string{"ready", "errors", "cache", "loadbalance", "template", "kubernetes"}
	dnsserver.Directives = slices.DeleteFunc(dnsserver.Directives, func(name string) bool {
		return !slices.Contains(wanted, name)
	})
	coremain.Run()
}
