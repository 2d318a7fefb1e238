//! A relay in front of a server that says how long the server itself took: what its clients' calls cost without their
//! own share. Only for a client that waits for each answer before its next call.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Listens for as long as the program runs.
pub(crate) struct Relay {
    /// `IP:PORT` to dial.
    pub(crate) address: String,
    turns: Arc<Mutex<Turns>>,
}

#[derive(Default)]
struct Turns {
    /// When the client last sent something that was not answered yet.
    asked: Option<Instant>,
    took: Duration,
}

impl Relay {
    pub(crate) fn start(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let turns = Arc::<Mutex<Turns>>::default();
        let (server, shared) = (server.to_owned(), Arc::clone(&turns));
        std::thread::Builder::new().spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                // A connection that breaks ends a build, which says so.
                drop(pass(&client, &server, &shared));
            }
        })?;
        Ok(Self { address, turns })
    }

    /// How long the server took since this was last asked.
    pub(crate) fn take(&self) -> Duration {
        std::mem::take(&mut lock(&self.turns).took)
    }
}

/// Passes bytes both ways, each on a thread of its own.
fn pass(client: &TcpStream, server: &TcpStream, turns: &Arc<Mutex<Turns>>) -> Result<()> {
    for is_question in [true, false] {
        let (from, to) = if is_question { (client, server) } else { (server, client) };
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        to.set_nodelay(true)?;
        let turns = Arc::clone(turns);
        std::thread::Builder::new().spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                {
                    let mut turns = lock(&turns);
                    if is_question {
                        turns.asked = Some(Instant::now());
                    } else if let Some(asked) = turns.asked.take() {
                        turns.took += asked.elapsed();
                    }
                }
                if to.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
            // The other side may be gone already.
            drop(to.shutdown(Shutdown::Write));
        })?;
    }
    Ok(())
}

fn lock(turns: &Mutex<Turns>) -> std::sync::MutexGuard<'_, Turns> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}
