package routing

// index is a map from strings to places. Its first entry lies within it: most
// indexes of a table have one entry, and to reach that through a Go map costs
// three or four cache misses, which are what a look-up among 100 000 routes
// consists of.
type index[V any] struct {
	key   string
	first *V
	more  map[string]*V
}

// get returns the place under key, or nil.
func (x *index[V]) get(key string) *V {
	if key == x.key {
		return x.first // nil in an empty index, whose key is ""
	}
	return x.more[key]
}

// at returns the place under key, made when it is missing.
func (x *index[V]) at(key string) *V {
	if v := x.get(key); v != nil {
		return v
	}
	v := new(V)
	switch {
	case x.first == nil:
		x.key, x.first = key, v
	case x.more == nil:
		x.more = map[string]*V{key: v}
	default:
		x.more[key] = v
	}
	return v
}
