package main

// The part of Grafana's classic dashboard model that is used here
// (schemaVersion 39, Grafana 10.4 and later).

type dashboard struct {
	UID           string     `json:"uid"`
	Title         string     `json:"title"`
	Description   string     `json:"description"`
	Tags          []string   `json:"tags"`
	Editable      bool       `json:"editable"`
	GraphTooltip  int        `json:"graphTooltip"` // 1: one crosshair for all panels
	Refresh       string     `json:"refresh"`
	SchemaVersion int        `json:"schemaVersion"`
	Timezone      string     `json:"timezone"`
	Time          timeRange  `json:"time"`
	Templating    templating `json:"templating"`
	Panels        []panel    `json:"panels"`
}

type timeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type templating struct {
	List []variable `json:"list"`
}

type variable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"`
	Query      string      `json:"query"`
	Datasource *datasource `json:"datasource,omitempty"`
	Refresh    int         `json:"refresh"` // 1: when the dashboard loads; 2: when its time changes
	Multi      bool        `json:"multi,omitempty"`
	IncludeAll bool        `json:"includeAll,omitempty"`
	AllValue   string      `json:"allValue,omitempty"`
	Sort       int         `json:"sort,omitempty"` // 1: alphabetically
	Current    *choice     `json:"current,omitempty"`
}

type choice struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID          int          `json:"id"`
	Type        string       `json:"type"`
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	Datasource  *datasource  `json:"datasource,omitempty"`
	GridPos     grid         `json:"gridPos"`
	Targets     []target     `json:"targets,omitempty"`
	FieldConfig *fieldConfig `json:"fieldConfig,omitempty"`
	Options     any          `json:"options,omitempty"`
	Collapsed   *bool        `json:"collapsed,omitempty"` // of rows
}

type grid struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type target struct {
	RefID        string     `json:"refId"`
	Datasource   datasource `json:"datasource"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat"`
	Format       string     `json:"format"`
	Instant      bool       `json:"instant,omitempty"`
	Range        bool       `json:"range,omitempty"`
}

type fieldConfig struct {
	Defaults  fieldDefaults `json:"defaults"`
	Overrides []struct{}    `json:"overrides"`
}

type fieldDefaults struct {
	Unit       string      `json:"unit"`
	Min        *float64    `json:"min,omitempty"`
	Max        *float64    `json:"max,omitempty"`
	Custom     *drawing    `json:"custom,omitempty"`
	Thresholds *thresholds `json:"thresholds,omitempty"`
}

type drawing struct {
	DrawStyle   string   `json:"drawStyle"`
	LineWidth   int      `json:"lineWidth"`
	FillOpacity int      `json:"fillOpacity"`
	ShowPoints  string   `json:"showPoints"`
	Stacking    stacking `json:"stacking"`
}

type stacking struct {
	Mode  string `json:"mode"`
	Group string `json:"group"`
}

type thresholds struct {
	Mode  string `json:"mode"`
	Steps []step `json:"steps"`
}

// step colours values from Value on; the first step has none.
type step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

type timeseriesOptions struct {
	Legend  legend  `json:"legend"`
	Tooltip tooltip `json:"tooltip"`
}

type legend struct {
	DisplayMode string   `json:"displayMode"`
	Placement   string   `json:"placement"`
	ShowLegend  bool     `json:"showLegend"`
	Calcs       []string `json:"calcs"`
}

type tooltip struct {
	Mode string `json:"mode"`
	Sort string `json:"sort"`
}

type statOptions struct {
	ColorMode     string        `json:"colorMode"`
	GraphMode     string        `json:"graphMode"`
	ReduceOptions reduceOptions `json:"reduceOptions"`
}

type reduceOptions struct {
	Calcs  []string `json:"calcs"`
	Fields string   `json:"fields"`
	Values bool     `json:"values"`
}

type heatmapOptions struct {
	Calculate bool        `json:"calculate"`
	Color     heatmapHues `json:"color"`
	YAxis     heatmapAxis `json:"yAxis"`
}

type heatmapHues struct {
	Mode   string `json:"mode"`
	Scheme string `json:"scheme"`
	Steps  int    `json:"steps"`
}

type heatmapAxis struct {
	Unit string `json:"unit"`
}

// fromVariable is the data source that the reader chose.
var fromVariable = datasource{Type: "prometheus", UID: "${datasource}"}

const (
	gridWidth   = 24
	graphHeight = 8
	statHeight  = 4
)

// arrange numbers panels and puts them on the grid, from left to right and from
// top to bottom. Their widths and heights are given.
func arrange(panels []panel) []panel {
	x, y, height := 0, 0, 0
	for i := range panels {
		p := &panels[i]
		p.ID = i + 1
		if x+p.GridPos.W > gridWidth {
			x, y = 0, y+height
		}
		p.GridPos.X, p.GridPos.Y = x, y
		x, height = x+p.GridPos.W, p.GridPos.H
	}
	return panels
}

// row is the heading of the panels that follow.
func row(title string) panel {
	open := false
	return panel{Type: "row", Title: title, GridPos: grid{W: gridWidth, H: 1}, Collapsed: &open}
}

// graph draws values over time.
func graph(width int, title, unit, description string, targets ...target) panel {
	zero := 0.0
	return panel{
		Type: "timeseries", Title: title, Description: description,
		Datasource: &fromVariable, Targets: lettered(targets),
		GridPos: grid{W: width, H: graphHeight},
		FieldConfig: &fieldConfig{Overrides: []struct{}{}, Defaults: fieldDefaults{
			Unit: unit, Min: &zero,
			Custom: &drawing{DrawStyle: "line", LineWidth: 1, ShowPoints: "never", Stacking: stacking{"none", "A"}},
		}},
		Options: timeseriesOptions{
			Legend:  legend{DisplayMode: "table", Placement: "bottom", ShowLegend: true, Calcs: []string{"mean", "max"}},
			Tooltip: tooltip{Mode: "multi", Sort: "desc"},
		},
	}
}

// stacked draws values over time on top of each other: parts of a whole.
func stacked(width int, title, unit, description string, targets ...target) panel {
	p := graph(width, title, unit, description, targets...)
	p.FieldConfig.Defaults.Custom.Stacking.Mode = "normal"
	p.FieldConfig.Defaults.Custom.FillOpacity = 30
	return p
}

// stat shows the newest value, coloured by steps.
func stat(width int, title, unit, description string, t target, steps ...step) panel {
	return panel{
		Type: "stat", Title: title, Description: description,
		Datasource: &fromVariable, Targets: lettered([]target{t}),
		GridPos: grid{W: width, H: statHeight},
		FieldConfig: &fieldConfig{Overrides: []struct{}{}, Defaults: fieldDefaults{
			Unit: unit, Thresholds: &thresholds{Mode: "absolute", Steps: steps},
		}},
		Options: statOptions{
			ColorMode: "value", GraphMode: "area",
			ReduceOptions: reduceOptions{Calcs: []string{"lastNotNull"}},
		},
	}
}

// heatmap draws the buckets of a histogram over time.
func heatmap(width int, title, unit, description string, t target) panel {
	t.Format = "heatmap"
	return panel{
		Type: "heatmap", Title: title, Description: description,
		Datasource: &fromVariable, Targets: lettered([]target{t}),
		GridPos:     grid{W: width, H: graphHeight},
		FieldConfig: &fieldConfig{Overrides: []struct{}{}, Defaults: fieldDefaults{Unit: unit}},
		Options: heatmapOptions{
			Color: heatmapHues{Mode: "scheme", Scheme: "Oranges", Steps: 64},
			YAxis: heatmapAxis{Unit: unit},
		},
	}
}

func from(color string, value float64) step { return step{color, &value} }

func otherwise(color string) step { return step{Color: color} }

func lettered(targets []target) []target {
	for i := range targets {
		targets[i].RefID = string(rune('A' + i))
	}
	return targets
}

// line is one expression of a panel. legend may contain {{label}}.
func line(legend, expr string) target {
	return target{Datasource: fromVariable, Expr: expr, LegendFormat: legend, Format: "time_series", Range: true}
}
