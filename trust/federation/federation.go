// Package federation keeps copies of the bundles that SPIFFE bundle endpoints serve
// (SPIFFE Federation §5), for package files to read; see package mirror.
//
// An endpoint is described by its URL, its profile and the trust domain that it is
// asked about. None is inferred from another, and there is no falling back from one
// profile to the other (FED-02). With [ProfileWeb] the endpoint is judged as any
// site of the web is, by the system's roots or by those in a file. With
// [ProfileSPIFFE] it must be one workload, by its identifier, and is judged by
// package certpath: by the bundle that was fetched last if it serves its own trust
// domain, and by the bootstrap bundle otherwise or as long as nothing was fetched
// (FED-05).
//
// Nothing is taken up that package trust would not read, or that is older than what
// is held. Whatever goes wrong, the copy stays and grows older; package files says
// how old is too old.
//
// To take up other endpoints, end Run and begin with a new Source.
package federation
