package workloadid_test

import (
	"fmt"

	"verigate/workloadid"
)

func ExampleParse() {
	id, err := workloadid.Parse("spiffe://prod.example/ns/shop/sa/checkout")
	if err != nil {
		panic(err)
	}
	fmt.Println(id.Origin())
	fmt.Println(id.Path())

	// Nothing is repaired: another spelling is another identifier or none.
	_, err = workloadid.Parse("SPIFFE://prod.example/ns/shop/sa/checkout")
	fmt.Println(err)
	_, err = workloadid.Parse("spiffe://prod.example/ns/../sa/checkout")
	fmt.Println(err)
	// Output:
	// spiffe://prod.example
	// /ns/shop/sa/checkout
	// at octet 0: must begin with "spiffe://" or "wimse://", in lowercase
	// at octet 25: the path has a "." or ".." segment
}

func ExamplePattern_Match() {
	everyCheckout, err := workloadid.ParsePattern("spiffe://prod.example/ns/*/sa/checkout")
	if err != nil {
		panic(err)
	}
	for _, s := range []string{
		"spiffe://prod.example/ns/shop/sa/checkout",
		"spiffe://prod.example/ns/shop/sa/checkout-v2",
		"spiffe://partner.example/ns/shop/sa/checkout",
	} {
		id, err := workloadid.Parse(s)
		if err != nil {
			panic(err)
		}
		fmt.Println(everyCheckout.Match(id), id)
	}
	// Output:
	// true spiffe://prod.example/ns/shop/sa/checkout
	// false spiffe://prod.example/ns/shop/sa/checkout-v2
	// false spiffe://partner.example/ns/shop/sa/checkout
}

func ExampleIndex() {
	var quotas workloadid.Index[int]
	for pattern, quota := range map[string]int{
		"spiffe://prod.example/**":           10,
		"spiffe://prod.example/ns/shop/**":   100,
		"spiffe://prod.example/ns/*/sa/cron": 1,
	} {
		p, err := workloadid.ParsePattern(pattern)
		if err != nil {
			panic(err)
		}
		*quotas.At(p) = quota
	}
	id, err := workloadid.Parse("spiffe://prod.example/ns/shop/sa/cron")
	if err != nil {
		panic(err)
	}
	quotas.Search(id, func(quota *int) bool {
		fmt.Println(*quota)
		return false // go on to the less specific
	})
	// Output:
	// 100
	// 1
	// 10
}
