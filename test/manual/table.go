package manual

import (
	"regexp"
	"strings"
	"testing"
)

// rowCells cuts a row of a table into its cells. Empty ones at its end are left out.
func rowCells(row string) []string {
	cells := strings.Split(strings.TrimRight(strings.TrimPrefix(strings.ReplaceAll(row, `\|`, "\x00"), "|"), "| "), "|")
	for i, c := range cells {
		cells[i] = strings.TrimSpace(strings.ReplaceAll(c, "\x00", "|"))
	}
	return cells
}

// Tables returns the rows of the tables of a manual, each as its cells, by the heading that they stand below. What stands at the head of a
// table is no row.
func Tables(t *testing.T, path string) map[string][][]string {
	t.Helper()
	all, heading := map[string][][]string{}, ""
	for _, block := range blocks(Read(t, path)) {
		if h, ok := strings.CutPrefix(block, "## "); ok {
			heading = h
		}
		if !strings.HasPrefix(block, "|") {
			continue
		}
		for _, row := range strings.Split(strings.TrimSpace(block), "\n")[2:] {
			all[heading] = append(all[heading], rowCells(row))
		}
	}
	return all
}

// Replaced is a row of docs/coming-from-ar.md: what was There, and what is Here in its place.
type Replaced struct {
	There, Here string
	Remarks     string
}

var code = regexp.MustCompile("`([^`]+)`")

// Code is the code in a text of a manual.
func Code(text string) (all []string) {
	for _, m := range code.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// ComingFromAR reads docs/coming-from-ar.md below root, the top of the tree: its rows by their headings.
func ComingFromAR(t *testing.T, root string) map[string][]Replaced {
	t.Helper()
	page := map[string][]Replaced{}
	for heading, rows := range Tables(t, root+"/docs/coming-from-ar.md") {
		for _, cells := range rows {
			cells = append(cells, "", "")
			page[heading] = append(page[heading], Replaced{There: cells[0], Here: cells[1], Remarks: cells[2]})
		}
	}
	return page
}

// Keys reads docs/l2tpd.yaml.md below root: the keys of the configuration by their paths, each with its type; that of a section is empty.
func Keys(t *testing.T, root string) map[string]string {
	t.Helper()
	keys := map[string]string{}
	for heading, rows := range Tables(t, root+"/docs/l2tpd.yaml.md") {
		section := strings.Trim(heading, "`") + "."
		switch heading {
		case "Refused keys":
			continue
		case "Top level":
			section = ""
		}
		for _, cells := range rows {
			for _, key := range Code(cells[0]) {
				keys[section+key] = cells[1]
			}
		}
	}
	for _, block := range blocks(Read(t, root+"/docs/l2tpd.yaml.md")) {
		if h, ok := strings.CutPrefix(block, "## `"); ok {
			keys[strings.TrimSuffix(h, "`")] = ""
		}
	}
	return keys
}
