use std::time::{Duration, SystemTime};

use hands_client::{HubInfo, InvocationInfo, JobInfo, JobState, Overview, WorkerInfo};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::keys::wants_to_leave;
use crate::view::{View, share};

fn at(seconds: u64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn overview(n_workers: u32, n_jobs: u32) -> Overview {
    let worker = |n| WorkerInfo {
        name: format!("worker-{n}"),
        slots: 4,
        busy: 3,
        memory: 16 << 30,
        connected: at(100),
        last_seen: at(1000),
        ..WorkerInfo::default()
    };
    let job = |n| JobInfo {
        id: format!("06ab{n:022}"),
        state: JobState::Running,
        title: format!("make target-{n}\x1b[2J"),
        worker: "worker-0".into(),
        started: at(990),
        ..JobInfo::default()
    };
    Overview {
        hub: HubInfo { started: at(0), queued: 7, running: n_jobs, ..HubInfo::default() },
        workers: (0..n_workers).map(worker).collect(),
        invocations: vec![InvocationInfo {
            id: "i".into(),
            tool: "hands batch".into(),
            queued: 7,
            running: 3,
            succeeded: 9,
            failed: 1,
            created: at(940),
            ..InvocationInfo::default()
        }],
        running: (0..n_jobs).map(job).collect(),
        queued: Vec::new(),
        failures: vec![JobInfo {
            id: "06zz0000000000000000000000".into(),
            exit_code: 2,
            title: "false".into(),
            finished: at(935),
            ..JobInfo::default()
        }],
        now: at(1001),
        ..Overview::default()
    }
}

fn rows(overview: &Overview, width: u16, height: u16) -> Vec<String> {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    View { overview, peer: "the agent", trouble: None }.paint(area, &mut buffer);
    (0..height)
        .map(|y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>())
        .collect()
}

#[test]
fn a_screen_of_24_lines_has_something_of_everything() {
    let screen = rows(&overview(40, 100), 80, 24);
    let all = screen.join("\n");
    for wanted in [
        "the agent",
        "up 16m41s",
        "slots [#######---] 120/160  queued 7  running 100",
        "worker-0",
        "[#######---] 3/4",
        "hands batch",
        "[#####-----] 10/20",
        "06ab00000000",
        "06zz000000000   exit 2",
        "1m06s",
        "q quits",
    ] {
        assert!(all.contains(wanted), "{wanted:?} is not in\n{all}");
    }
    // What has no room is counted, and nothing of an action's reaches the terminal as it is.
    assert!(all.contains("WORKER 8/40 ") && all.contains("ACTION 7/100 "), "{all}");
    assert!(!all.contains('\x1b'), "{all}");
}

#[test]
fn no_size_is_too_small() {
    let overview = overview(3, 3);
    for width in [1, 2, 7, 20, 80, 300] {
        for height in [1, 2, 3, 4, 9, 60] {
            let screen = rows(&overview, width, height);
            assert_eq!(screen.len(), usize::from(height));
        }
    }
}

#[test]
fn text_leaves_nothing_out() {
    let overview = overview(40, 100);
    let text = View { overview: &overview, peer: "the agent", trouble: None }.text(120);
    assert!(text.contains("worker-39") && text.contains("target-99"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 120 && !line.ends_with(' ')));
    let empty = Overview::default();
    let text = View { overview: &empty, peer: "the agent", trouble: None }.text(80);
    assert!(text.contains("no worker is connected\n"), "{text}");
    assert!(text.contains("nothing is queued or running\n"), "{text}");
}

#[test]
fn room_is_shared_and_not_wasted() {
    assert_eq!(share(20, &[2, 2, 50, 2]), [2, 2, 14, 2]);
    assert_eq!(share(21, &[40, 40, 40, 40]), [6, 5, 5, 5]);
    assert_eq!(share(2, &[5, 5, 5]), [1, 1, 0]);
    assert_eq!(share(100, &[5, 5]), [5, 5]);
}

#[test]
fn arrows_do_not_leave() {
    for leave in [&b"q"[..], b"xq", b"\x03", b"\x1b", b"\x1b[Aq"] {
        assert!(wants_to_leave(leave), "{leave:?}");
    }
    for stay in [&b"x"[..], b"\x1b[A", b"\x1b[1;5C", b"\x1bOP", b"\x1bOq", b"\r"] {
        assert!(!wants_to_leave(stay), "{stay:?}");
    }
}
