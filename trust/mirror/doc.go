// Package mirror has what the remote sources of trust share. A remote source
// publishes nothing itself: it keeps the last good version of what it fetches in a
// file, and package files reads that file like any other. So there is one parser,
// one place that decides what is held, a gateway that starts while a source is
// away, and a folder in which an operator can see what is trusted.
//
// A [File] is such a copy, a [Getter] fetches a document over HTTP, a [Poller]
// decides when. The file is the state: what is held is what it says, a source keeps
// no other truth, and whoever removes the file begins anew. The age of what it says
// is the file's time of modification, which every confirmation renews.
package mirror
