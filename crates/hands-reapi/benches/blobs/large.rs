//! A large blob.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use hands_reapi::{Blob, BlobClient, Source};
use hands_types::{Digest, DigestFunction};
use tonic::transport::Channel;

use crate::floor;

/// One 1 GiB blob up and down, verified at both ends, beside the least that such a blob takes on this machine; with the
/// processor's time, which other work on the machine disturbs less.
pub(crate) async fn both_ways(channel: &Channel, home: &Path, function: DigestFunction) {
    const SIZE: usize = 1 << 30;
    let client = BlobClient::new(channel.clone(), "", function);
    let [mut up, mut down, mut floor] = [const { Vec::new() }; 3];
    for round in 0..6 {
        let content = crate::fresh(SIZE);
        let digest = hands_tree::hash(function, &content);
        let path = home.join("beside");
        // Whoever comes first finds other memory than who comes last.
        if round % 2 == 0 {
            floor.push(bare(&content, digest, &path));
        }
        warm(&path, &content);
        let blob = Blob { digest, source: Source::Bytes(content.clone()) };
        let clock = Clock::start();
        client.upload(vec![blob]).await.expect("written");
        up.push(clock.stop());
        warm(&path, &content);
        let file = File::create(&path).expect("a file");
        let clock = Clock::start();
        client.download_to(&digest, &file, &path).await.expect("read");
        down.push(clock.stop());
        std::fs::remove_file(&path).expect("removed");
        if round % 2 == 1 {
            floor.push(bare(&content, digest, &path));
        }
    }
    for (what, mut times) in [("up", up), ("down", down), ("bare", floor)] {
        times.sort_unstable();
        let mbs = |at: usize| SIZE as f64 / 1e6 / times[at].0.as_secs_f64();
        let cpu = times.iter().map(|(_, cpu)| cpu).sum::<u64>() as f64 / 100.0 / times.len() as f64;
        let name = format!("1 GiB {what}, {}", function.name());
        let (middle, last) = (mbs(times.len() / 2), mbs(times.len() - 1));
        println!("  {name:<28} {middle:.0} MB/s ({last:.0}–{:.0}), {cpu:.1} s of CPU", mbs(0));
    }
}

/// The least that it takes: what it costs before HTTP/2, messages and the store.
fn bare(content: &[u8], digest: Digest, path: &Path) -> (Duration, u64) {
    warm(path, content);
    let clock = Clock::start();
    floor::receive(content, digest, path);
    let taken = clock.stop();
    std::fs::remove_file(path).expect("removed");
    taken
}

/// Writes a file and removes it, so that memory for another is at hand. What a virtual machine has not touched for a while
/// its host has taken back, and to get it again takes longer than all the rest.
fn warm(path: &Path, content: &[u8]) {
    std::fs::write(path, content).expect("written");
    std::fs::remove_file(path).expect("removed");
}

/// Time, and this process's time on processors in hundredths of a second.
struct Clock(Instant, u64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), processor_time())
    }

    fn stop(self) -> (Duration, u64) {
        (self.0.elapsed(), processor_time() - self.1)
    }
}

/// User's and system's time of all threads (proc(5), `/proc/PID/stat`: fields 14 and 15).
fn processor_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.map(|field| field.parse::<u64>().expect("a number")).sum()
}
