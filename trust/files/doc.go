// Package files keeps a [trust.Store] and the gateway's credentials in step with
// files: anchors as PEM or SPIFFE bundle JSON, certificate chains and their keys.
//
// A [Source] watches the directories that the files are in, waits until a burst
// of events has passed, and looks at the content. Which event it was, or whether
// one came at all, decides nothing: files are compared by hash, also every
// [Options.Poll] without any event. That is what makes it work with Kubernetes,
// which never touches a mounted file and swaps a symbolic link beside it.
//
// Each item, a bundle or a credential, is replaced as a whole or not at all. On
// any error the last good one stays in use and the error is in [Source.Status]
// until the file is good again; in the meantime it is looked at more often. An
// explicitly empty bundle, {"keys":[]}, is not an error: it revokes its trust
// domain. A missing or empty file is.
//
// Write files whole: into a temporary file beside the target, then rename. A
// reader of a file that is being written in place can see half of it. This one
// reads until two readings agree, which narrows that window without closing it.
package files
