//! When each stage of an execution was, in the order in which stages follow each other.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

use crate::JobResult;
use crate::answers::moment;

/// One stage of an execution, by the clocks of hub and worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSpan {
    /// `queued`, `fetching`, `waiting for a slot`, `staging`, `executing` or `uploading`.
    pub name: &'static str,
    /// When it began.
    pub from: SystemTime,
    /// When it ended; not before it began, and not after the next stage's beginning.
    pub to: SystemTime,
}

impl JobResult {
    /// The stages of the execution, as [`JobResult::stages`] but with their places in time. Empty where the engine tells
    /// no times. Of a cached result these are the times of the execution that made it.
    pub fn timeline(&self) -> Vec<StageSpan> {
        let Some(metadata) = self.metadata() else { return Vec::new() };
        let at = |time: &Option<Timestamp>| moment(*time);
        let started = at(&metadata.execution_start_timestamp);
        let staged = self.usage().map(|usage| Duration::from_micros(usage.staging_us));
        let staging = started.zip(staged).and_then(|(at, took)| at.checked_sub(took));
        let fetching = at(&metadata.input_fetch_start_timestamp);
        let fetched = at(&metadata.input_fetch_completed_timestamp);
        let queued = at(&metadata.queued_timestamp);
        let taken = fetching.or(at(&metadata.worker_start_timestamp));
        let stages = [
            ("queued", queued, taken),
            ("fetching", fetching, fetched),
            // Our workers take leases ahead of free slots.
            ("waiting for a slot", fetched, staging),
            ("staging", staging, started),
            ("executing", started, at(&metadata.execution_completed_timestamp)),
            (
                "uploading",
                at(&metadata.output_upload_start_timestamp),
                at(&metadata.output_upload_completed_timestamp),
            ),
        ];
        let mut spans = Vec::new();
        let mut last = None;
        for (name, from, to) in stages {
            let (Some(from), Some(to)) = (from, to) else { continue };
            let from = last.map_or(from, |last| from.max(last));
            let to = to.max(from);
            last = Some(to);
            spans.push(StageSpan { name, from, to });
        }
        spans
    }
}
