//! The four lists: workers, invocations, actions, failures.

use hands_client::{
    Code, InvocationInfo, JobInfo, JobState, Overview, WorkerInfo, lacks_outputs, printable,
};
use hands_front::eye::{bar, bytes};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Cell, Row, Table, Widget as _};

use crate::times::{between, short};

/// Characters of an id that tell it from others, almost surely: the time, and some chance. `hands status` takes them.
const ID: usize = 13;
/// The column in which it stands has room for a count in its heading.
const ID_COLUMN: u16 = 14;
/// Columns of a bar without its brackets.
const BAR: usize = 10;

/// A heading and rows below it.
#[derive(Debug)]
pub(super) struct Section {
    headings: Vec<&'static str>,
    widths: Vec<Constraint>,
    rows: Vec<(Vec<String>, Style)>,
    /// What stands there instead of rows.
    empty: &'static str,
}

impl Section {
    /// Lines that it would fill.
    pub(super) fn height(&self) -> u16 {
        u16::try_from(self.rows.len().max(1) + 1).unwrap_or(u16::MAX)
    }

    /// Paints as many rows as there is room for; where some have none, the heading counts them.
    pub(super) fn paint(&self, area: Rect, buffer: &mut Buffer) {
        let room = usize::from(area.height.saturating_sub(1));
        let heading = Style::new().add_modifier(Modifier::REVERSED);
        let mut headings: Vec<String> = self.headings.iter().map(|h| (*h).to_owned()).collect();
        if self.rows.len() > room
            && let Some(first) = headings.first_mut()
        {
            *first = format!("{first} {room}/{}", self.rows.len());
        }
        let cells = |cells: &[String]| -> Vec<Cell<'static>> {
            cells.iter().map(|cell| Cell::from(printable(cell).into_owned())).collect()
        };
        let mut rows: Vec<Row<'static>> = self
            .rows
            .iter()
            .take(room)
            .map(|(row, style)| Row::new(cells(row)).style(*style))
            .collect();
        if rows.is_empty() && room > 0 {
            rows.push(Row::new([self.empty]).style(Modifier::DIM));
            // The sentence is wider than any first column.
            let heading = Row::new(cells(&headings)).style(heading);
            Table::new([heading], self.widths.clone()).column_spacing(2).render(area, buffer);
            let below = Rect { y: area.y + 1, height: 1, ..area };
            return Table::new(rows, [Constraint::Fill(1)]).render(below, buffer);
        }
        Table::new(rows, self.widths.clone())
            .header(Row::new(cells(&headings)).style(heading))
            .column_spacing(2)
            .render(area, buffer);
    }
}

/// All lists, in the order in which they stand.
pub(super) fn sections(overview: &Overview) -> [Section; 4] {
    [workers(overview), invocations(overview), actions(overview), failures(overview)]
}

fn workers(overview: &Overview) -> Section {
    use Constraint::{Fill, Length};
    let row = |worker: &WorkerInfo| {
        let (busy, slots) = (u64::from(worker.busy), u64::from(worker.slots));
        let silent = between(worker.last_seen, overview.now);
        let style = if worker.draining { Style::new().fg(Color::Yellow) } else { Style::new() };
        let mut about = Vec::new();
        if worker.draining {
            about.push("draining".to_owned());
        }
        about.extend(
            worker
                .properties
                .iter()
                .filter(|(name, _)| name == "tag")
                .map(|(_, value)| format!("tag {value}")),
        );
        let cells = vec![
            worker.name.clone(),
            format!("{} {busy}/{slots}", bar(busy, slots, BAR)),
            bytes(worker.memory),
            short(between(worker.connected, overview.now)),
            short(silent),
            about.join(", "),
        ];
        (cells, style)
    };
    Section {
        headings: vec!["WORKER", "BUSY SLOTS", "MEMORY", "SINCE", "SEEN", "ABOUT"],
        widths: vec![Fill(2), Length(20), Length(8), Length(6), Length(5), Fill(1)],
        rows: overview.workers.iter().map(row).collect(),
        empty: "no worker is connected",
    }
}

fn invocations(overview: &Overview) -> Section {
    use Constraint::{Length, Min};
    let row = |invocation: &InvocationInfo| {
        let ended = invocation.succeeded + invocation.failed;
        let left = u64::from(invocation.queued) + u64::from(invocation.running);
        let style = match (left, invocation.failed) {
            (_, 1..) => Style::new().fg(Color::Red),
            (0, 0) => Style::new().add_modifier(Modifier::DIM),
            (_, 0) => Style::new(),
        };
        let name = match (invocation.tool.as_str(), invocation.id.as_str()) {
            ("", "") => "unnamed".to_owned(),
            ("", id) => id.to_owned(),
            (tool, _) => tool.to_owned(),
        };
        let cells = vec![
            name,
            format!("{} {ended}/{}", bar(ended, ended + left, BAR), ended + left),
            invocation.queued.to_string(),
            invocation.running.to_string(),
            invocation.failed.to_string(),
            invocation.cached.to_string(),
            short(between(invocation.created, overview.now)),
        ];
        (cells, style)
    };
    Section {
        headings: vec!["INVOCATION", "ENDED", "QUEUED", "RUNNING", "FAILED", "CACHED", "AGE"],
        widths: vec![Min(14), Length(22), Length(6), Length(7), Length(6), Length(6), Length(6)],
        rows: overview.invocations.iter().map(row).collect(),
        empty: "nothing was submitted since the hub started",
    }
}

fn actions(overview: &Overview) -> Section {
    use Constraint::{Fill, Length};
    let now = overview.now;
    let row = |job: &JobInfo| {
        let (state, since) = match job.state {
            JobState::Running => ("running", job.started.or(job.created)),
            JobState::Queued | JobState::Done | JobState::Unknown => ("queued", job.created),
        };
        // Only what can't run by and by has a reason worth its room.
        let reason = job.waiting.strip_prefix("waiting: ").filter(|why| why.starts_with("no "));
        let unmet = job.worker.is_empty() && reason.is_some();
        let place = match reason.filter(|_| unmet) {
            // The column is narrow: what is lacking comes first.
            Some(why) => match why.strip_prefix("no worker offers ") {
                Some(lacking) => format!("needs {lacking}"),
                None => why.to_owned(),
            },
            None => job.worker.clone(),
        };
        let style = match (state, unmet) {
            (_, true) => Style::new().fg(Color::Yellow),
            ("running", _) => Style::new().fg(Color::Green),
            _ => Style::new(),
        };
        let id = id_of(job);
        (vec![id, state.to_owned(), short(between(since, now)), place, job.title.clone()], style)
    };
    Section {
        headings: vec!["ACTION", "STATE", "TIME", "WORKER", "COMMAND"],
        widths: vec![Length(ID_COLUMN), Length(7), Length(6), Fill(1), Fill(2)],
        rows: overview.running.iter().chain(&overview.queued).map(row).collect(),
        empty: "nothing is queued or running",
    }
}

fn failures(overview: &Overview) -> Section {
    use Constraint::{Fill, Length};
    let row = |job: &JobInfo| {
        let why = match &job.failure {
            Some(failure) if failure.code == Code::DeadlineExceeded => "timeout".to_owned(),
            Some(_) if lacks_outputs(job) => "incomplete".to_owned(),
            Some(_) => "error".to_owned(),
            None => format!("exit {}", job.exit_code),
        };
        let ago = short(between(job.finished, overview.now));
        let cells = vec![id_of(job), why, ago, job.worker.clone(), job.title.clone()];
        (cells, Style::new().fg(Color::Red))
    };
    Section {
        headings: vec!["FAILED", "WHY", "AGO", "WORKER", "COMMAND"],
        widths: vec![Length(ID_COLUMN), Length(10), Length(6), Fill(1), Fill(2)],
        rows: overview.failures.iter().map(row).collect(),
        empty: "nothing has failed since the hub started",
    }
}

fn id_of(job: &JobInfo) -> String {
    job.id.chars().take(ID).collect()
}
