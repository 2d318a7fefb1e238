//! Figures beside their targets, as a table for people and for `bench/results`.

/// Whether more or less is better.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// No target: a peer's or a base line's figure.
    None,
}

pub(crate) struct Row {
    name: String,
    figure: String,
    target: String,
    verdict: &'static str,
}

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds one figure and shows it at once.
    pub(crate) fn add(
        &mut self,
        name: &str,
        value: f64,
        unit: &str,
        figure: String,
        target: Target,
    ) {
        let (target, verdict) = match target {
            Target::AtMost(most) => {
                (format!("≤ {most} {unit}"), if value <= most { "reached" } else { "MISSED" })
            }
            Target::AtLeast(least) => {
                (format!("≥ {least} {unit}"), if value >= least { "reached" } else { "MISSED" })
            }
            Target::None => (String::new(), ""),
        };
        say(&format!("{name:<52} {figure:<58} {target:<14} {verdict}"));
        self.rows.push(Row { name: name.to_owned(), figure, target, verdict });
    }

    pub(crate) fn markdown(&self, heading: &str) -> String {
        let mut out =
            format!("{heading}\n\n| what | figure | target | |\n| --- | --- | --- | --- |\n");
        for row in &self.rows {
            let line = [row.name.as_str(), &row.figure, &row.target, row.verdict].join(" | ");
            out.push_str("| ");
            out.push_str(&line);
            out.push_str(
                " |
",
            );
        }
        out
    }
}

#[expect(clippy::print_stdout, reason = "the program's output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
