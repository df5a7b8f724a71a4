package workloadapi

import (
	"context"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// maxMessageBytes bounds a message. gRPC's default of 4 MiB is some two thousand
// federated trust domains, a number that exists.
const maxMessageBytes = 16 << 20

// receiver waits for the next message. discarded is why it does not count, err why
// there is no further one.
type receiver func() (s state, discarded, err error)

// follow opens a stream and takes up its messages until it ends; the error is why.
// Each stream has a connection of its own, so that nothing of a failed one, such as
// gRPC's own and longer back-off, is left for the next.
func (s *Source) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	conn, err := s.connect()
	if err != nil {
		cancel()
		return err
	}
	defer func() { _ = conn.Close() }()
	receive, err := s.open(ctx, workload.NewSpiffeWorkloadAPIClient(conn))
	if err != nil {
		cancel()
		return err
	}

	states, failed := make(chan func()), make(chan error, 1)
	var receiving sync.WaitGroup
	defer receiving.Wait()
	defer cancel() // first, so that there is an end to wait for
	receiving.Go(func() {
		for {
			n, discarded, err := receive()
			if err != nil {
				failed <- err
				return
			}
			take := func() { s.takeUp(n) }
			if discarded != nil {
				take = func() { s.discarded(discarded) }
			}
			select {
			case states <- take:
			case <-ctx.Done():
				return
			}
		}
	})

	standing := time.NewTicker(s.o.Confirm)
	defer standing.Stop()
	for {
		select {
		case take := <-states:
			take()
		case <-standing.C:
			s.confirm()
		case err := <-failed:
			return err
		}
	}
}

// connect prepares a connection. The Workload API authenticates its callers by the
// system and they trust the socket (SPIFFE Workload Endpoint §4), so there is no TLS,
// and no proxy between either.
func (s *Source) connect() (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
	}
	return grpc.NewClient(s.target, options...)
}

// open asks for SVIDs, which come with all bundles, if one is wanted, and for bundles
// alone otherwise: those are also for workloads without an identity.
func (s *Source) open(ctx context.Context, client workload.SpiffeWorkloadAPIClient) (receiver, error) {
	// Without this header the Workload API refuses: a web page that makes a browser
	// send requests to the socket cannot set it (SPIFFE Workload Endpoint §6).
	ctx = metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true")
	if len(s.o.Credentials) > 0 {
		stream, err := client.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
		if err != nil {
			return nil, err
		}
		return func() (n state, discarded, err error) {
			m, err := stream.Recv()
			if err == nil {
				n, discarded = fromSVIDs(m)
			}
			return n, discarded, err
		}, nil
	}
	stream, err := client.FetchX509Bundles(ctx, &workload.X509BundlesRequest{})
	if err != nil {
		return nil, err
	}
	return func() (n state, discarded, err error) {
		m, err := stream.Recv()
		if err == nil {
			n, discarded = fromBundles(m)
		}
		return n, discarded, err
	}, nil
}
