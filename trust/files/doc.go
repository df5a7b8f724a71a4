// Package files keeps a [trust.Store], the gateway's credentials and the secrets
// that it shares with others in step with files: anchors as PEM or SPIFFE bundle
// JSON, revocation lists as PEM or DER, certificate chains and their keys.
//
// A [Source] watches the directories that the files are in, waits until a burst
// of events has passed, and looks at the content. Which event it was, or whether
// one came at all, decides nothing: files are compared by hash, also every
// [Options.Poll] without any event. That is what makes it work with Kubernetes,
// which never touches a mounted file and swaps a symbolic link beside it. A file
// whose hash is that of before is not parsed, nor kept in memory, again.
//
// Each item, such as a bundle, one file of revocation lists or a credential, is
// replaced as a whole or not at all. On any error the last good one stays in use
// and the error is in [Source.Status] until the file is good again; in the
// meantime it is looked at more often. An explicitly empty bundle, {"keys":[]},
// is not an error: it revokes its trust domain. A missing or empty file is.
//
// Nothing goes back: a bundle document with a lower spiffe_sequence than the one
// held, and a revocation list behind the one that was held of its series, is
// refused. Of a CA that was set up again and counts from the beginning, put the
// list into a file of another name.
//
// # Written by others
//
// What a remote source fetches, it writes to a file, and this package reads it
// like any other. Such files may be missing at the start ([BundleFile.Optional],
// [CRLFile.Optional]) and be too old to be believed ([BundleFile.MaxAge]): in
// both cases nothing is trusted for their sake, and everything else works. The
// source calls [Source.Refresh] when it has written something.
//
// Write files whole: into a temporary file beside the target, then rename. A
// reader of a file that is being written in place can see half of it. This one
// reads until two readings agree, which narrows that window without closing it.
package files
