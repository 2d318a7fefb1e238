//! Who ends first for want of memory: an action, never the slot that it runs in. Commands raise their own score, and
//! what is here keeps them from lowering it again.

use std::fs;
use std::io;

use hands_sandbox_child::VICTIM;
use rustix::process::Pid;

/// Lets nothing that a spawner starts have a lower score than a command's first, while the spawner keeps its own. Only
/// the machine's CAP_SYS_RESOURCE can: without it, as for an ordinary user and in most containers, an action may lower
/// its score to the spawner's, and nothing is changed here.
pub(crate) fn bound(spawner: Pid) -> io::Result<()> {
    let file = |name: &str| format!("/proc/{}/{name}", spawner.as_raw_nonzero());
    let score = file("oom_score_adj");
    let own = fs::read_to_string(&score)?;
    let victim = VICTIM.to_bytes();
    // With the right to, this sets the lower bound too, and children inherit it.
    fs::write(&score, victim)?;
    // The file of old takes the score back and leaves the bound: its own scale reaches from -17 to 15.
    let old = own.trim().parse::<i32>().unwrap_or(0) * 17 / 1000;
    match fs::write(file("oom_adj"), old.to_string()) {
        Ok(()) => Ok(()),
        // No such right, or no such file any more.
        Err(_) => fs::write(&score, own.trim()),
    }
}
