package handoff

import (
	"sync"

	"verigate/certpath"
)

// memo remembers the values of paths. It is divided so that requests on
// different connections seldom wait for each other, and bounded because it keeps
// the paths alive.
type memo struct {
	shards [memoShards]struct {
		sync.RWMutex
		values map[*certpath.Path]*values
	}
}

const (
	memoShards    = 32
	pathsPerShard = 128 // 4096 callers, about 3 KiB each with a chain of one issuer
)

func (m *memo) get(p *certpath.Path) *values {
	shard := &m.shards[p.LeafSHA256()[0]%memoShards]
	shard.RLock()
	v := shard.values[p]
	shard.RUnlock()
	return v
}

func (m *memo) put(p *certpath.Path, v *values) {
	shard := &m.shards[p.LeafSHA256()[0]%memoShards]
	shard.Lock()
	defer shard.Unlock()
	if shard.values == nil {
		shard.values = make(map[*certpath.Path]*values)
	}
	if _, known := shard.values[p]; !known && len(shard.values) >= pathsPerShard {
		// Any one has to go. A map's first element is a random one, which no caller
		// can aim at.
		for victim := range shard.values {
			delete(shard.values, victim)
			break
		}
	}
	shard.values[p] = v
}
