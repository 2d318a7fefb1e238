//! Inputs that change while they are read.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::home::{Home, ran};

/// Their outputs come into the directory that both send.
#[test]
fn two_runs_at_once_in_one_directory() {
    let home = Home::new().warm();
    for n in 0..100 {
        home.write(&format!("src/{n}"), &format!("{n}\n"));
    }
    // What a run that was killed has left is nobody's input either.
    home.write("src/.hands-0123456789abcdef.tmp", "half a file");
    home.write(".hands-note.tmp", "a user's own");
    for round in 0..4 {
        let runs = ["one", "two", "three"].map(|name| {
            let script = format!("ls -A > seen-{name}; ls -A src >> seen-{name}; cp -r src {name}");
            let seen = format!("seen-{name}");
            let outputs = ["run", "--input", ".", "--output", name, "--output", &seen];
            home.start(&[&outputs[..], &["--", "sh", "-c", &script]].concat())
        });
        for run in runs {
            let ended = ran(run.wait_with_output().unwrap());
            assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{round}: {ended:?}");
        }
        for name in ["one", "two", "three"] {
            let seen = home.read(&format!("seen-{name}"));
            let temporary =
                seen.lines().find(|l| l.starts_with(".hands-") && *l != ".hands-note.tmp");
            assert_eq!(temporary, None, "{round}");
            assert!(seen.contains(".hands-note.tmp"), "{round}: {seen}");
            assert_eq!(fs::read_dir(home.work().join(name)).unwrap().count(), 100);
        }
        for name in ["one", "two", "three"] {
            fs::remove_dir_all(home.work().join(name)).unwrap();
        }
    }
}

/// Files, links and directories that come and go all the time.
#[test]
fn what_vanishes_is_left_out_and_told() {
    let home = Home::new().warm();
    home.write("stays", "stays\n");
    let stop = AtomicBool::new(false);
    let busy = home.work().join("busy");
    let told = std::thread::scope(|scope| {
        for n in 0..2 {
            let (busy, stop) = (busy.join(n.to_string()), &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    fs::create_dir_all(busy.join("below")).unwrap();
                    for file in 0..40 {
                        fs::write(busy.join(format!("below/{file}")), "x").unwrap();
                        std::os::unix::fs::symlink("x", busy.join(format!("link{file}"))).unwrap();
                    }
                    fs::remove_dir_all(&busy).unwrap();
                }
            });
        }
        let mut told = 0;
        let began = Instant::now();
        for round in 0.. {
            let ended = home.run(&["run", "--input", ".", "--", "cat", "stays"]);
            if ended.code != 0 || ended.out != "stays\n" {
                stop.store(true, Ordering::Relaxed);
                panic!("{round}: {ended:?}");
            }
            told += usize::from(ended.err.contains("warning: left out, gone while"));
            // Which moment is hit is left to chance; in two minutes there are thousands.
            if told > 0 && round >= 20 || began.elapsed() > Duration::from_secs(120) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        told
    });
    assert!(told > 0);
}
