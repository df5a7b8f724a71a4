#!/bin/sh
# Sends good and bad requests for ever, so that there is something to see.
set -u

# call NAME PATH: one connection and one request as the workload NAME.
call() {
	curl --silent --output /dev/null --max-time 5 --cacert /pki/root.pem \
		--cert "/pki/$1.pem" --key "/pki/$1.key" "https://gateway:8443$2"
}

while :; do
	call checkout /v1/charge
	call checkout /items
	call cart /items
	call cart /v1/charge # 403: not allowed
	call cart /nowhere   # 404: no route
	call late /items     # refused: expired
	curl --silent --output /dev/null --max-time 5 --cacert /pki/root.pem https://gateway:8443/items # refused: no certificate
	sleep 1
done
