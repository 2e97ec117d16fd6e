//! Tables: heads with units, neighbours of a group under one head, numbers to the right.

use super::markup::Html;
use crate::page::table::{Cell, Column, Kind, Table};

/// Writes it.
pub(super) fn table(html: &mut Html, table: &Table) {
    html.raw("<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"");
    html.text(&table.caption);
    html.raw("\"><table><caption>");
    html.text(&table.caption);
    html.raw("</caption>\n<thead>");
    if table.columns.iter().any(|column| !column.group.is_empty()) {
        groups(html, &table.columns);
    }
    html.raw("<tr>");
    for (index, column) in table.columns.iter().enumerate() {
        head(html, column, starts_group(&table.columns, index));
    }
    html.raw("</tr></thead>\n<tbody>");
    for row in &table.rows {
        html.raw("<tr>");
        for (index, (column, cell)) in table.columns.iter().zip(row).enumerate() {
            self::cell(html, column, cell, index == 0, starts_group(&table.columns, index));
        }
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div>\n");
}

fn starts_group(columns: &[Column], index: usize) -> bool {
    index > 0 && columns[index].group != columns[index - 1].group
}

fn groups(html: &mut Html, columns: &[Column]) {
    html.raw("<tr>");
    for group in columns.chunk_by(|a, b| a.group == b.group) {
        html.raw("<th scope=\"colgroup\" class=\"group\" colspan=\"");
        html.number(group.len());
        html.raw("\">");
        html.text(group[0].group);
        html.raw("</th>");
    }
    html.raw("</tr>");
}

fn class(column: &Column, starts_group: bool) -> &'static str {
    match (column.kind, starts_group) {
        (Kind::Text, false) => "",
        (Kind::Text, true) => " class=\"first\"",
        (Kind::Number(_), false) => " class=\"number\"",
        (Kind::Number(_), true) => " class=\"number first\"",
    }
}

fn head(html: &mut Html, column: &Column, starts_group: bool) {
    html.raw("<th scope=\"col\"");
    html.raw(class(column, starts_group));
    html.raw(">");
    html.text(&column.head);
    if !column.unit.is_empty() {
        html.raw(" <span>");
        html.text(column.unit);
        html.raw("</span>");
    }
    html.raw("</th>");
}

fn cell(html: &mut Html, column: &Column, cell: &Cell, is_first: bool, starts_group: bool) {
    html.raw(if is_first { "<th scope=\"row\"" } else { "<td" });
    html.raw(class(column, starts_group));
    html.raw(">");
    html.text(&column.shown(cell));
    html.raw(if is_first { "</th>" } else { "</td>" });
}
