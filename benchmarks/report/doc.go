// Package report holds what a benchmark measured and shows it: as JSON, as
// Markdown tables with ratios and spread, and as an HTML page with plots.
//
// # How figures come about
//
// A figure of a subject at a point is the median of its rounds. Its spread is the
// interquartile range of the rounds divided by that median: a single round that a
// neighbour disturbed moves neither much, while a machine that wanders moves the
// spread. Quartiles are interpolated between rounds, so that three rounds have some
// too. A figure with a spread of more than [WideSpread] is marked, and the report
// says so at its top if it is CPU time per operation or has a [Target].
//
// A ratio is the first subject's figure divided by a peer's, taken in each round by
// itself; shown is the median of these with the lowest and the highest. Rounds of
// all subjects alternate, so what slows the machine down for a minute slows both,
// and leaves their ratio alone. A target is met or missed if all rounds agree,
// otherwise it is met or missed "by the median".
//
// Nothing here measures: package scaling and the comparison of peers do.
package report
