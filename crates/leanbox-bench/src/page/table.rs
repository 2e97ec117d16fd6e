//! Tables as values: columns with units, cells that may be absent.

use super::benchmarks::{Amount, Change};
use super::numbers;

/// A table beside a chart.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Stands above the heads of neighbours that share it.
    pub(crate) group: &'static str,
    pub(crate) head: String,
    pub(crate) unit: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// With this many decimals.
    Number(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Text(String),
    Number(f64),
    Absent,
}

impl From<Option<Amount>> for Cell {
    fn from(amount: Option<Amount>) -> Self {
        amount.map_or(Self::Absent, |Amount(value)| Self::Number(value))
    }
}

impl From<Amount> for Cell {
    fn from(Amount(value): Amount) -> Self {
        Self::Number(value)
    }
}

impl From<Option<Change>> for Cell {
    fn from(change: Option<Change>) -> Self {
        change.map_or(Self::Absent, |Change(value)| Self::Number(value))
    }
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Absent, Self::Number)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::Absent } else { Self::Text(text) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_string().into()
    }
}

impl Column {
    pub(crate) fn text(head: &str) -> Self {
        Self { group: "", head: head.into(), unit: "", kind: Kind::Text }
    }

    pub(crate) fn number(head: &str, unit: &'static str, decimals: usize) -> Self {
        Self { group: "", head: head.into(), unit, kind: Kind::Number(decimals) }
    }

    pub(crate) fn of_group(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }

    /// A cell as it is shown in this column.
    pub(crate) fn shown(&self, cell: &Cell) -> String {
        match (cell, self.kind) {
            (Cell::Text(text), _) => text.clone(),
            (Cell::Number(value), Kind::Number(decimals)) => numbers::fixed(*value, decimals),
            (Cell::Number(value), Kind::Text) => numbers::short(*value),
            (Cell::Absent, _) => "–".into(),
        }
    }
}

impl Table {
    pub(crate) fn new(
        caption: impl Into<String>,
        columns: Vec<Column>,
        rows: Vec<Vec<Cell>>,
    ) -> Self {
        Self { caption: caption.into(), columns, rows }.without_empty_columns()
    }

    /// What no row has is not shown.
    fn without_empty_columns(self) -> Self {
        let filled =
            |index: usize| self.rows.iter().any(|row| row.get(index) != Some(&Cell::Absent));
        let kept: Vec<usize> = (0..self.columns.len()).filter(|index| filled(*index)).collect();
        let columns = kept.iter().map(|index| self.columns[*index].clone()).collect();
        let cells = |row: &Vec<Cell>| kept.iter().map(|index| row[*index].clone()).collect();
        let rows = self.rows.iter().map(cells).collect();
        Self { caption: self.caption, columns, rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_row_has_is_left_out_and_what_one_lacks_is_a_dash() {
        let columns = vec![
            Column::text("tool"),
            Column::number("p50", "µs", 1),
            Column::number("p99", "µs", 1),
        ];
        let rows = vec![
            vec!["a".into(), Cell::Number(1.0), Cell::Absent],
            vec!["b".into(), Cell::Absent, Cell::Absent],
        ];
        let table = Table::new("", columns, rows);
        assert_eq!(table.columns.len(), 2);
        assert_eq!(table.columns[1].shown(&table.rows[0][1]), "1.0");
        assert_eq!(table.columns[1].shown(&table.rows[1][1]), "–");
    }
}
