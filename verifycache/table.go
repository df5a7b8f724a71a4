package verifycache

// table is a map that holds at most max values and forgets the oldest for a new
// one. What may be filled by strangers lives in tables: whatever they put in can
// push out only what they or others like them have put in. It is not
// synchronised.
type table[K comparable, V any] struct {
	values map[K]V
	order  []K // ring of the keys in values, oldest at next once it is full
	next   int
	max    int
}

func newTable[K comparable, V any](max int) table[K, V] {
	return table[K, V]{values: make(map[K]V), max: max}
}

func (t *table[K, V]) get(k K) (V, bool) {
	v, ok := t.values[k]
	return v, ok
}

// put sets the value of k, in place if k is there already.
func (t *table[K, V]) put(k K, v V) {
	if _, ok := t.values[k]; !ok {
		if len(t.order) < t.max {
			t.order = append(t.order, k)
		} else {
			delete(t.values, t.order[t.next])
			t.order[t.next] = k
			t.next = (t.next + 1) % t.max
		}
	}
	t.values[k] = v
}

func (t *table[K, V]) len() int { return len(t.values) }
