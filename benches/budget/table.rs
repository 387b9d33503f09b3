//! The rows and how they are printed.

use std::fmt;

/// A figure against its budget.
#[derive(Clone, Copy, Debug)]
pub enum Budget {
    AtLeast(f64),
    AtMost(f64),
    /// Told to explain other rows.
    None,
}

/// How a row's figure should grow with the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// As the objects do: a time, or a rate of objects.
    Linear,
    /// Hardly: memory.
    Bounded,
}

/// One row. The budget applies to the ratio where there is a limit, and to the figure itself where there is none.
#[derive(Clone, Debug)]
pub struct Row {
    pub path: String,
    pub measured: f64,
    pub unit: &'static str,
    /// The physical limit, in the same unit.
    pub limit: Option<f64>,
    pub budget: Budget,
    /// Where rows of several sizes tell something together.
    pub growth: Option<Growth>,
}

#[derive(Debug, Default)]
pub struct Table(pub Vec<Row>);

impl Row {
    /// A figure that is judged by itself.
    pub fn figure(path: impl Into<String>, measured: f64, unit: &'static str, budget: Budget) -> Self {
        Self { path: path.into(), measured, unit, limit: None, budget, growth: None }
    }

    /// A figure that is judged by its ratio to `limit`.
    pub fn ratio(path: impl Into<String>, measured: f64, unit: &'static str, limit: f64, budget: Budget) -> Self {
        Self { path: path.into(), measured, unit, limit: Some(limit), budget, growth: None }
    }

    /// The same row, of which other sizes of the directory are expected to have one too.
    pub fn grows(self, growth: Growth) -> Self {
        Self { growth: Some(growth), ..self }
    }

    fn cells(&self) -> [String; 6] {
        let ratio = self.limit.map(|limit| self.measured / limit);
        let judged = ratio.unwrap_or(self.measured);
        let written = |value: f64| if ratio.is_some() { format!("{value:.2} x") } else { short(value) };
        let (budget, met) = match self.budget {
            Budget::AtLeast(least) => (format!(">= {}", written(least)), verdict(judged >= least)),
            Budget::AtMost(most) => (format!("<= {}", written(most)), verdict(judged <= most)),
            Budget::None => (String::new(), String::new()),
        };
        [
            self.path.clone(),
            format!("{} {}", short(self.measured), self.unit),
            self.limit.map(|limit| format!("{} {}", short(limit), self.unit)).unwrap_or_default(),
            ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            budget,
            met,
        ]
    }
}

fn verdict(met: bool) -> String {
    if met { "met" } else { "MISSED" }.to_owned()
}

fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Table {
    /// Adds a row, and shows it at once.
    pub fn add(&mut self, row: Row) {
        eprintln!("         {}", row.cells().join(" | "));
        self.0.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["path", "measured", "limit", "ratio", "budget", ""].map(str::to_owned)];
        rows.extend(self.0.iter().map(Row::cells));
        let widths: Vec<usize> =
            (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}
