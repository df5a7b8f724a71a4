#!/bin/sh
# Makes the certificates of this folder anew, with openssl 3. The keys are thrown
# away. See ../README.md.
set -eu
cd "$(dirname "$0")"
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT

root="basicConstraints=critical,CA:true
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash"
issuing="basicConstraints=critical,CA:true,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid"
leaf="basicConstraints=critical,CA:false
keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth,serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=URI:spiffe://prod.example/ns/shop/sa/checkout"

# sign NAME SUBJECT EXTENSIONS ISSUER_OPTIONS…
sign() {
	name=$1 subject=$2
	printf '%s\n' "$3" >"$keys/extensions"
	shift 3
	openssl req -new -key "$keys/$name.key" -subj "$subject" -out "$keys/$name.csr"
	openssl x509 -req -in "$keys/$name.csr" -days 36500 -extfile "$keys/extensions" "$@" -out "$name.pem"
}

openssl genpkey -algorithm ed448 -out "$keys/root.key"
openssl genpkey -algorithm ed448 -out "$keys/issuing.key"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$keys/leaf.key"
sign root "/CN=openssl Ed448 root" "$root" -signkey "$keys/root.key"
sign issuing "/CN=openssl Ed448 issuing" "$issuing" -CA root.pem -CAkey "$keys/root.key"
sign leaf "/CN=checkout" "$leaf" -CA issuing.pem -CAkey "$keys/issuing.key"
