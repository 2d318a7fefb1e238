//! What the hostile program tries. It exits 0 when it was contained.

mod leave;
mod try_out;

use std::process::exit;

pub(crate) fn run(args: &[String]) -> ! {
    let argument = args.get(1).map_or("", String::as_str);
    let known = try_out::run(&args[0], argument)
        || leave::run(&args[0], argument)
        || bombs(&args[0], argument);
    assert!(known, "unknown probe {}", args[0]);
    exit(0)
}

pub(crate) fn require(contained: bool, what: &str) {
    if !contained {
        eprintln!("NOT CONTAINED: {what}: {}", std::io::Error::last_os_error());
        exit(1);
    }
}

/// The error number of a call that must fail.
pub(crate) fn raw(nr: i64, a: usize, b: usize, c: usize) -> i32 {
    // SAFETY: calls that must fail, with arguments that they can't use.
    let done = unsafe { libc::syscall(nr, a, b, c, 0, 0) };
    if done < 0 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 }
}

fn fork() -> i32 {
    // SAFETY: this program has one thread.
    unsafe { libc::fork() }
}

fn bombs(name: &str, argument: &str) -> bool {
    match name {
        "nothing" => {}
        "fork-bomb" => {
            let mut n = 0;
            while n < 2000 {
                match fork() {
                    0 => loop {
                        // SAFETY: waits for a signal.
                        unsafe { libc::pause() };
                    },
                    -1 => break,
                    _ => n += 1,
                }
            }
            println!("{n}");
        }
        "eat-memory" => {
            let mut bytes = vec![0u8; 300 << 20];
            for i in (0..bytes.len()).step_by(4096) {
                bytes[i] = 1;
            }
            println!("{}", bytes[4096]);
        }
        "eat-memfd" => {
            // SAFETY: a literal.
            let fd = unsafe { libc::memfd_create(c"eat".as_ptr(), 0) };
            require(fd >= 0, "memfd");
            let piece = vec![1u8; 1 << 20];
            for _ in 0..300 {
                // SAFETY: a local of that length.
                unsafe { libc::write(fd, piece.as_ptr().cast(), piece.len()) };
            }
        }
        "take-shm" => take_shm(argument.parse().expect("MiB")),
        "eat-many" => {
            for _ in 0..200 {
                if fork() == 0 {
                    let bytes = vec![1u8; 2 << 20];
                    println!("{}", bytes[4096]);
                    // SAFETY: waits for a signal.
                    unsafe { libc::pause() };
                }
            }
            // None ends by itself. Were this one to end first, the others would before they have their memory.
            // SAFETY: waits for a child, and writes nowhere.
            unsafe { libc::wait(std::ptr::null_mut()) };
        }
        "daemon" => daemons(argument),
        "stay" => {
            daemons(argument);
            println!("staying");
            loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            }
        }
        "wait" => loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        },
        _ => return false,
    }
    true
}

/// A System V segment of so many MiB, every page of it used, and left.
fn take_shm(mib: usize) {
    // SAFETY: plain System V calls; the segment has that many bytes.
    unsafe {
        let id = libc::shmget(libc::IPC_PRIVATE, mib << 20, libc::IPC_CREAT | 0o600);
        let at = libc::shmat(id, std::ptr::null(), 0).cast::<u8>();
        require(id >= 0 && at.addr() != usize::MAX, "a segment");
        for page in (0..mib << 20).step_by(4096) {
            at.add(page).write(1);
        }
    }
}

/// Processes in sessions of their own that ignore all signals, orphans among them; returns when all have execed.
fn daemons(word: &str) {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    let (mut ready, closed_at_exec) = std::io::pipe().expect("a pipe");
    for _ in 0..3 {
        if fork() == 0 {
            // SAFETY: plain calls of a process with one thread.
            unsafe {
                libc::setsid();
                for signal in 1..64 {
                    libc::signal(signal, libc::SIG_IGN);
                }
                libc::fork();
            }
            let mut next = std::process::Command::new("/proc/self/exe");
            next.args(["inside", "wait", word])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            panic!("{}", next.exec());
        }
    }
    drop(closed_at_exec);
    ready.read_to_end(&mut Vec::new()).expect("the daemons' start");
}
