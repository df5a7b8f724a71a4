#!/bin/sh
# Makes new throwaway certificates in /pki at each start: they live for a day.
set -eu

rm -f /pki/*.pem /pki/*.key
gateway pki init --dir /pki --trust-domain spiffe://prod.example
gateway pki issue --dir /pki spiffe://prod.example/edge --dns gateway --dns localhost --ip 127.0.0.1
gateway pki issue --dir /pki spiffe://prod.example/ns/shop/sa/checkout
gateway pki issue --dir /pki spiffe://prod.example/ns/shop/sa/cart
gateway pki issue --dir /pki spiffe://prod.example/ns/shop/sa/late --lifetime 1s
