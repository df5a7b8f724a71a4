package main

import (
	"errors"
	"io/fs"
	"net"
	"strconv"
	"syscall"

	"verigate/config"
	"verigate/trust"
)

// placed says where in the configuration the cause of an error stands that arose
// outside of it: a file that is named there, an address that is to be bound. Of an
// error that joins several each is placed. What has no place is returned as it is.
func placed(c *config.Config, err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var problems config.Problems
		var others []error
		for _, e := range joined.Unwrap() {
			e = placed(c, e)
			if p, ok := errors.AsType[config.Problem](e); ok {
				problems = append(problems, p)
			} else {
				others = append(others, e)
			}
		}
		if len(others) == 0 {
			return problems
		}
		if len(problems) > 0 {
			others = append([]error{problems}, others...)
		}
		return errors.Join(others...)
	}
	if fault, ok := errors.AsType[*net.OpError](err); ok && fault.Op == "listen" {
		return unbound(c, fault)
	}
	path := ""
	if fault, ok := errors.AsType[*fs.PathError](err); ok {
		path = fault.Path
	}
	if fault, ok := errors.AsType[*trust.Error](err); ok {
		if _, isOrigin := c.File.TrustDomains[fault.Name]; isOrigin {
			return c.At("trust_domains."+fault.Name, err.Error(), "")
		}
		path = fault.Name
	}
	if path != "" {
		if field := c.FieldNaming(path); field != "" {
			return c.At(field, err.Error(), "")
		}
	}
	return err
}

// unbound says which address could not be bound.
func unbound(c *config.Config, fault *net.OpError) error {
	cause, ok := errors.AsType[syscall.Errno](fault.Err)
	what, hint := fault.Err.Error(), ""
	if ok {
		what = cause.Error()
	}
	switch cause {
	case syscall.EADDRINUSE:
		hint = "another process has the port; stop it, or choose another"
	case syscall.EACCES:
		hint = "ports below 1024 want root or the capability CAP_NET_BIND_SERVICE"
	case syscall.EADDRNOTAVAIL:
		hint = "the machine has no such address"
	default: // the error has to do
	}
	bound, ok := fault.Addr.(*net.TCPAddr)
	if !ok {
		return fault
	}
	fields := []struct{ field, address string }{{"admin.address", c.AdminAddress()}}
	for i, l := range c.File.Listeners {
		fields = append(fields, struct{ field, address string }{"listeners[" + strconv.Itoa(i) + "].address", l.Address})
	}
	for _, f := range fields {
		if address, err := net.ResolveTCPAddr("tcp", f.address); err == nil && address.Port == bound.Port && (address.IP.Equal(bound.IP) || isEvery(address.IP) && isEvery(bound.IP)) {
			return c.At(f.field, "cannot bind "+f.address+": "+what, hint)
		}
	}
	return fault
}

// isEvery reports whether ip stands for all addresses of the machine.
func isEvery(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }
