//! The dashboard while somebody looks at it: one task, select → change → draw.

use std::time::Duration;

use hands_client::{ClientError, Cluster, Overview};
use hands_front::{Signals, chain};
use hands_types::error::exit;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::keys::wants_to_leave;
use crate::screen::Screen;
use crate::view::View;
use crate::{ROWS, TopError};

/// How often the hub is asked.
const REFRESH: Duration = Duration::from_secs(1);

/// Shows what goes on until the person leaves or a signal ends it; returns the exit code.
pub async fn live(cluster: &Cluster, color: bool) -> Result<u8, TopError> {
    let mut resized = signal(SignalKind::window_change()).map_err(TopError::Terminal)?;
    let mut signals = Signals::listen().map_err(TopError::Terminal)?;
    // An answer before the screen is taken: who can't be asked at all is told of on a line that stays.
    let mut overview = cluster.overview(ROWS).await?;
    let mut trouble = None;
    let (keys, mut typed) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    let mut screen = Screen::enter(color).map_err(TopError::Terminal)?;
    tasks.spawn(read_keys(keys));
    let mut tick = interval(REFRESH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = None;
    loop {
        let view = View { overview: &overview, peer: cluster.peer(), trouble: trouble.as_deref() };
        screen.draw(|area, buffer| view.paint(area, buffer)).map_err(TopError::Terminal)?;
        tokio::select! {
            answer = answered(&mut asking) => {
                asking = None;
                match answer {
                    Ok(fresh) => (overview, trouble) = (fresh, None),
                    Err(error) => trouble = Some(chain(&error)),
                }
            }
            _ = tick.tick(), if asking.is_none() => {
                let cluster = cluster.clone();
                asking = Some(Box::pin(async move { cluster.overview(ROWS).await }));
            }
            Some(()) = resized.recv() => {}
            // The keys end where the terminal does.
            _ = typed.recv() => return Ok(exit::OK),
            caught = signals.next() => return Ok(caught.exit_code()),
        }
    }
}

type Asking = std::pin::Pin<Box<dyn Future<Output = Result<Overview, ClientError>>>>;

/// The answer that is being waited for; waits for ever where none is.
async fn answered(asking: &mut Option<Asking>) -> Result<Overview, ClientError> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

/// Reads keys until one says to leave, or there will be no more.
async fn read_keys(leave: mpsc::Sender<()>) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 256];
    loop {
        match stdin.read(&mut buffer).await {
            Ok(length) if length > 0 && !wants_to_leave(&buffer[..length]) => {}
            Ok(_) | Err(_) => break,
        }
    }
    if leave.send(()).await.is_err() {
        // Nobody receives where we are leaving already.
    }
}
