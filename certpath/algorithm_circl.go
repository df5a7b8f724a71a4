package certpath

import (
	_ "github.com/cloudflare/circl/sign/ed448"
	_ "github.com/cloudflare/circl/sign/mldsa/mldsa44"
	_ "github.com/cloudflare/circl/sign/mldsa/mldsa65"
	_ "github.com/cloudflare/circl/sign/mldsa/mldsa87"
)
