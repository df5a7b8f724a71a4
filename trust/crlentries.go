package trust

import "fmt"

// readEntries reads the revoked certificates: once to judge every entry and to learn
// how much room they take, then to count what goes where and to put it there.
func (c *CRL) readEntries(entries []byte) *Error {
	for r := (derReader{rest: entries}); r.more(); {
		c.entries++
		serial, _, storable, fault := readEntry(&r)
		if fault != nil {
			fault.Place = fmt.Sprintf("entry %d", c.entries)
			return fault
		}
		if storable {
			c.serials.tableOf(&serial).announce(&serial)
		}
	}
	c.serials.short.prepare()
	c.serials.long.prepare()
	for r := (derReader{rest: entries}); r.more(); {
		entry := r.into(tagSequence) // only what counting takes
		if serial, storable := derSerial(entry.read(tagInteger)); storable {
			c.serials.tableOf(&serial).tally(&serial)
		}
	}
	c.serials.short.place()
	c.serials.long.place()
	for r := (derReader{rest: entries}); r.more(); {
		if serial, revocation, storable, _ := readEntry(&r); storable {
			c.serials.tableOf(&serial).add(&serial, revocation)
		}
	}
	return nil
}

// readEntry reads SEQUENCE { userCertificate, revocationDate, crlEntryExtensions }.
// A serial number that is negative or longer than 20 octets is not storable: no
// certificate that has one is ever accepted, so it needs no entry either.
func readEntry(r *derReader) (serial [20]byte, revocation Revocation, storable bool, fault *Error) {
	inside := r.into(tagSequence)
	number := inside.read(tagInteger)
	revocation.Date = inside.time()
	if inside.broken || !derInteger(number) {
		return serial, revocation, false, &Error{Reason: ReasonCRL, Detail: "it is not a serial number and a date in DER"}
	}
	serial, storable = derSerial(number)
	if inside.more() {
		if revocation.Reason, fault = readEntryExtensions(&inside); fault != nil {
			return serial, revocation, false, fault
		}
	}
	return serial, revocation, storable, nil
}

func readEntryExtensions(r *derReader) (reason RevocationReason, fault *Error) {
	extensions := r.into(tagSequence)
	seen := false
	for extensions.more() {
		e := extensions.extension()
		if extensions.broken {
			break
		}
		switch arc := e.arc(); {
		case arc == arcReasonCode:
			value := derReader{rest: e.value}
			code := value.read(tagEnumerated)
			if !value.end() || len(code) != 1 || seen {
				return 0, &Error{Reason: ReasonCRL, Detail: "its reason code is not well formed or there twice"}
			}
			seen, reason = true, RevocationReason(code[0])
			if reason == reasonRemoveFromCRL {
				return 0, &Error{Reason: ReasonCRLDelta, Detail: "only a delta CRL can have the reason code removeFromCRL"}
			}
		case arc == arcCertificateIssuer:
			return 0, &Error{Reason: ReasonCRLIndirect, Detail: "it names the issuer of the certificate"}
		case e.critical && arc != arcInvalidityDate: // which changes nothing about being revoked
			return 0, &Error{Reason: ReasonCRLExtension, Detail: "extension " + e.name()}
		}
	}
	if !extensions.end() || !r.end() {
		return 0, &Error{Reason: ReasonCRL, Detail: "its extensions are not well formed"}
	}
	return reason, nil
}
