use std::collections::VecDeque;

use http_body::Body as _;

use super::*;
use crate::access::bounds::OTHERS;

/// What a client sends, in these pieces.
struct Pieces(VecDeque<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn message(length: u32) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.resize(5 + length as usize, 7);
    bytes
}

fn body(account: &Arc<Account>, sent: &[u8], piece: usize) -> Counting {
    let pieces = sent.chunks(piece).map(Bytes::copy_from_slice).collect();
    Counting {
        inner: Body::new(Pieces(pieces)),
        prefixes: Prefixes::default(),
        charge: Charge::new(Arc::clone(account), OTHERS.message),
        turn: Turn::default(),
        is_long: false,
        ends: None,
        refused: None,
    }
}

/// All that comes of a body now; whether there is more to wait for.
async fn read(body: &mut Counting) -> (Vec<u8>, bool) {
    let mut read = Vec::new();
    loop {
        // Twice: a turn that is over is no wait for anybody.
        let mut next = Poll::Pending;
        for _ in 0..2 {
            if next.is_pending() {
                next = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx)))
                    .await;
            }
        }
        match next {
            Poll::Ready(Some(frame)) => read.extend(frame.unwrap().into_data().unwrap()),
            Poll::Ready(None) => return (read, false),
            Poll::Pending => return (read, true),
        }
    }
}

#[tokio::test]
async fn the_end_of_a_large_message_waits_until_another_of_the_client_is_decoded() {
    let budget = MessageBudget::new(ALL, aside);
    let sent = [message(10), message(200 << 10), message(10)].concat();
    let end = 15 + 5 + (200 << 10);
    // In one piece, in pieces that end with a message and within one, and in the smallest that there are.
    for piece in [sent.len(), end, end - 1, 7000] {
        let account = budget.account();
        let mut first = body(&account, &sent, piece);
        assert_eq!(read(&mut first).await, (sent.clone(), false), "{piece}");
        let mut second = body(&account, &sent, piece);
        let (before, waits) = read(&mut second).await;
        assert!(waits && before.len() < end && end - before.len() <= piece, "{piece}");
        // Small ones do not wait.
        let small = message(60 << 10);
        assert_eq!(read(&mut body(&account, &small, piece)).await, (small.clone(), false));
        drop(first);
        let (after, waits) = read(&mut second).await;
        assert!(!waits && [before, after].concat() == sent, "{piece}");
    }
}
