package mtls

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/js/common"
	"go.k6.io/k6/js/modules"
	"go.k6.io/k6/lib/types"
)

// defaultTimeout is how long a request may take, connection included, if the script
// does not say; k6's own requests have the same.
const defaultTimeout = time.Minute

// Module makes an instance for each virtual user, and has the fleets that they
// share.
type Module struct {
	mu     sync.Mutex
	fleets map[fleetKey]*fleet
}

// fleetKey is all that a script says about a fleet.
type fleetKey struct {
	origin
	options
}

// New returns a module without fleets.
func New() *Module { return &Module{fleets: map[fleetKey]*fleet{}} }

// NewModuleInstance implements [modules.Module].
func (m *Module) NewModuleInstance(vu modules.VU) modules.Instance {
	i := &instance{module: m, vu: vu}
	if err := i.metrics.register(vu.InitEnv().Registry); err != nil {
		common.Throw(vu.Runtime(), err)
	}
	return i
}

// instance is the module as one virtual user sees it.
type instance struct {
	module  *Module
	vu      modules.VU
	metrics ownMetrics
}

// Exports implements [modules.Instance].
func (i *instance) Exports() modules.Exports {
	return modules.Exports{Named: map[string]any{"Fleet": i.newFleet}}
}

// newFleet is the constructor Fleet. Virtual users that give the same options get
// the same fleet.
func (i *instance) newFleet(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	if i.vu.InitEnv() == nil {
		common.Throw(rt, errors.New("new Fleet: fleets are made in the init context, outside all functions"))
	}
	o := options{Mode: modeKeepAlive, Protocol: protocolH1, Connections: defaultConnections}
	var from origin
	known := slices.Concat(originFields, []string{"size", "ca", "mode", "protocol", "connections", "serverName"})
	err := i.read(call.Argument(0), &o, known...)
	if err == nil {
		err = i.read(call.Argument(0), &from, known...)
	}
	if err != nil {
		common.Throw(rt, fmt.Errorf("new Fleet: %w", err))
	}
	absolute := i.vu.InitEnv().GetAbsFilePath
	locate(&from, absolute)
	if o.CA != "" {
		o.CA = absolute(o.CA)
	}
	f, err := i.module.fleet(from, o)
	if err != nil {
		common.Throw(rt, fmt.Errorf("new Fleet: %w", err))
	}
	object := rt.NewObject()
	for name, value := range map[string]any{
		"size": f.Size,
		"get": func(call sobek.FunctionCall) sobek.Value {
			return i.send(f, call.Argument(0), http.MethodGet, call.Argument(1), sobek.Undefined(), call.Argument(2))
		},
		"request": func(call sobek.FunctionCall) sobek.Value {
			return i.send(f, call.Argument(0), call.Argument(1).String(), call.Argument(2), call.Argument(3), call.Argument(4))
		},
		"rotate": func(call sobek.FunctionCall) sobek.Value {
			var to origin
			err := i.read(call.Argument(0), &to, originFields...)
			if err == nil {
				locate(&to, absolute)
				err = f.rotate(to)
			}
			if err != nil {
				common.Throw(rt, fmt.Errorf("rotate: %w", err))
			}
			return sobek.Undefined()
		},
	} {
		if err := object.Set(name, value); err != nil {
			common.Throw(rt, err)
		}
	}
	return object
}

// originFields are how scripts call the fields of [origin].
var originFields = []string{"identities", "certificate", "key", "anonymous"}

// locate makes the names of files absolute, as open() of k6 does.
func locate(o *origin, absolute func(string) string) {
	for _, name := range []*string{&o.Identities, &o.Certificate, &o.Key} {
		if *name != "" {
			*name = absolute(*name)
		}
	}
}

// read takes the fields of an object that a script passed. Others than those known
// are an error: a misspelt option would make a test of something else.
func (i *instance) read(value sobek.Value, into any, known ...string) error {
	if common.IsNullish(value) {
		return fmt.Errorf("expected an object with some of %s", strings.Join(known, ", "))
	}
	rt := i.vu.Runtime()
	for _, key := range value.ToObject(rt).Keys() {
		if !slices.Contains(known, key) {
			return fmt.Errorf("unknown option %q; expected some of %s", key, strings.Join(known, ", "))
		}
	}
	return rt.ExportTo(value, into)
}

// fleet returns the fleet with these options.
func (m *Module) fleet(from origin, o options) (*fleet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.fleets[fleetKey{from, o}]; f != nil {
		return f, nil
	}
	f, err := newFleet(from, o)
	if err != nil {
		return nil, err
	}
	m.fleets[fleetKey{from, o}] = f
	return f, nil
}

// params is what a script may say about a request.
type params struct {
	Headers map[string]string `js:"headers"`
	Tags    map[string]string `js:"tags"`
	Timeout any               `js:"timeout"`
	// Refused says that the test is passed if the server refuses the client.
	Refused bool `js:"refused"`
}

// response is what a script gets.
type response struct {
	Status  int               `js:"status"`
	Proto   string            `js:"proto"`
	Headers map[string]string `js:"headers"`
	Body    string            `js:"body"`
	Length  int               `js:"length"`
	// Identity is what the client presented: its URI, or its subject.
	Identity string `js:"identity"`
	// Reused is whether the connection had a request before, and Resumed whether its
	// handshake was by a ticket.
	Reused  bool   `js:"reused"`
	Resumed bool   `js:"resumed"`
	Refused bool   `js:"refused"`
	Alert   string `js:"alert"` // with which the server refused
	Error   string `js:"error"`
	Timings timing `js:"timings"`
}

// timing is in milliseconds.
type timing struct {
	Blocked        float64 `js:"blocked"`
	Connecting     float64 `js:"connecting"`
	TLSHandshaking float64 `js:"tls_handshaking"`
	Sending        float64 `js:"sending"`
	Waiting        float64 `js:"waiting"`
	Receiving      float64 `js:"receiving"`
	Duration       float64 `js:"duration"`
}

// send makes a request, measures it, and waits for the answer.
func (i *instance) send(f *fleet, identity sobek.Value, method string, address, body, about sobek.Value) sobek.Value {
	rt, state, ctx := i.vu.Runtime(), i.vu.State(), i.vu.Context()
	if state == nil {
		common.Throw(rt, errors.New("requests cannot be made in the init context"))
	}
	r, p, err := i.request(f, identity, method, address, body, about)
	if err != nil {
		common.Throw(rt, err)
	}
	if state.RPSLimit != nil {
		if err := state.RPSLimit.Wait(ctx); err != nil {
			common.Throw(rt, err)
		}
	}
	o, err := f.do(ctx, state, r)
	if err != nil {
		common.Throw(rt, err)
	}
	trail := o.trail()
	i.metrics.push(ctx, state, o, trail, r, p)
	if o.err != nil && !o.expected(p) && ctx.Err() == nil {
		// Only the first of each kind: an error has the port number of its connection,
		// and a server that is away would fill the terminal.
		if _, told := f.told.LoadOrStore(kindOf(o.err), true); !told {
			state.Logger.WithField("identity", o.name).WithError(o.err).Warn("k6/x/mtls: request failed; further ones of this kind are only counted")
		}
	}
	return rt.ToValue(o.response(trail, state.Options.DiscardResponseBodies.Bool))
}

// request reads what a script passed.
func (i *instance) request(f *fleet, identity sobek.Value, method string, address, body, about sobek.Value) (*request, *params, error) {
	r := &request{method: strings.ToUpper(method), header: http.Header{}, timeout: defaultTimeout}
	number := identity.ToFloat()
	if r.identity = int(number); number != float64(r.identity) || r.identity < 0 || r.identity >= f.Size {
		return nil, nil, fmt.Errorf("identity %s: expected a whole number from 0 to %d", identity, f.Size-1)
	}
	var err error
	if r.url, err = url.Parse(address.String()); err != nil || r.url.Scheme != "https" || r.url.Host == "" {
		return nil, nil, fmt.Errorf("%q is no https URL", address)
	}
	if !common.IsNullish(body) {
		if r.body, err = common.ToBytes(body.Export()); err != nil {
			return nil, nil, err
		}
	}
	p := &params{}
	if !common.IsNullish(about) {
		if err := i.read(about, p, "headers", "tags", "timeout", "refused"); err != nil {
			return nil, nil, err
		}
	}
	if agent := i.vu.State().Options.UserAgent; agent.Valid {
		r.header.Set("User-Agent", agent.String)
	}
	for name, value := range p.Headers {
		r.header.Set(name, value)
	}
	if p.Timeout != nil {
		if r.timeout, err = types.GetDurationValue(p.Timeout); err != nil || r.timeout <= 0 {
			return nil, nil, fmt.Errorf("timeout %v: expected milliseconds, or a duration such as '10s'", p.Timeout)
		}
	}
	return r, p, nil
}
