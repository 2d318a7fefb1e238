//! Watching HTTP/2 frames pass, for two words: that the peer is about to hang up, and how long it takes to answer.

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's header (RFC 9113, 4.1): three bytes of length, one of type, five that do not matter here.
const HEADER: usize = 9;
/// The type of the frame by which a peer announces that it ends the connection (RFC 9113, 6.8).
const GOAWAY: u8 = 7;
/// The type of the frame that asks whether the other end is there, and of its answer, which has this flag (RFC 9113, 6.7).
const PING: u8 = 6;
const ACK: u8 = 1;

/// What was among some bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The announcement that the connection will be ended; told once.
    pub(crate) goodbye: bool,
    /// A question whether the other end is there.
    pub(crate) ping: bool,
    /// The answer to one.
    pub(crate) pong: bool,
}

/// Follows one direction of a connection without keeping any of it.
#[derive(Debug)]
pub(crate) enum Frames {
    /// So many bytes of the preface were seen.
    Preface(usize),
    /// The first bytes of a frame's header.
    Header([u8; HEADER], usize),
    /// So many bytes of a frame's payload are still to come.
    Payload(usize),
    /// This is no HTTP/2, or all is known.
    Done,
}

impl Frames {
    pub(crate) const fn new() -> Self {
        Self::Preface(0)
    }

    /// The direction in which a server speaks: it has no preface.
    pub(crate) const fn after_preface() -> Self {
        Self::Header([0; HEADER], 0)
    }

    /// Takes the next bytes.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Seen {
        let mut found = Seen::default();
        while !bytes.is_empty() {
            match self {
                Self::Done => return found,
                Self::Preface(seen) => {
                    let n = bytes.len().min(PREFACE.len() - *seen);
                    if bytes[..n] != PREFACE[*seen..*seen + n] {
                        *self = Self::Done;
                        return found;
                    }
                    *seen += n;
                    bytes = &bytes[n..];
                    if *seen == PREFACE.len() {
                        *self = Self::Header([0; HEADER], 0);
                    }
                }
                Self::Header(header, seen) => {
                    let n = bytes.len().min(HEADER - *seen);
                    header[*seen..*seen + n].copy_from_slice(&bytes[..n]);
                    *seen += n;
                    bytes = &bytes[n..];
                    if *seen < HEADER {
                        continue;
                    }
                    match header[3] {
                        GOAWAY => {
                            *self = Self::Done;
                            found.goodbye = true;
                            return found;
                        }
                        PING if header[4] & ACK == 0 => found.ping = true,
                        PING => found.pong = true,
                        _ => {}
                    }
                    let [high, middle, low, ..] = *header;
                    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                    *self = Self::after(length);
                }
                Self::Payload(left) => {
                    let n = bytes.len().min(*left);
                    bytes = &bytes[n..];
                    *self = Self::after(*left - n);
                }
            }
        }
        found
    }

    const fn after(left: usize) -> Self {
        if left == 0 { Self::Header([0; HEADER], 0) } else { Self::Payload(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::{ACK, Frames, GOAWAY, PING, PREFACE, Seen};

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    /// How many times goodbye is heard, the bytes coming in pieces of this size.
    fn goodbyes(bytes: &[u8], piece: usize) -> usize {
        let mut frames = Frames::new();
        bytes.chunks(piece).filter(|piece| frames.pass(piece).goodbye).count()
    }

    #[test]
    fn goodbye_is_heard_however_the_bytes_come() {
        // A payload that looks like the frame, an empty one, a long one.
        let talk = [
            PREFACE.to_vec(),
            frame(0, &frame(GOAWAY, b"12345678")),
            frame(4, b""),
            frame(0, &[7; 70_000]),
        ]
        .concat();
        let farewell = [talk.clone(), frame(GOAWAY, b"12345678"), frame(GOAWAY, b"12345678")];
        let farewell = farewell.concat();
        for piece in (1..40).chain([16 << 10, 1 << 20]) {
            assert_eq!(goodbyes(&talk, piece), 0, "{piece}");
            assert_eq!(goodbyes(&farewell, piece), 1, "{piece}");
        }
    }

    #[test]
    fn questions_and_answers_are_told_apart() {
        let mut answer = frame(PING, b"12345678");
        answer[4] = ACK;
        let talk = [frame(4, b""), answer, frame(0, &frame(PING, b"12345678"))].concat();
        for (bytes, piece) in [(&talk, 1), (&talk, 7), (&talk, 1 << 20)] {
            let mut frames = Frames::after_preface();
            let seen: Vec<Seen> = bytes.chunks(piece).map(|piece| frames.pass(piece)).collect();
            assert!(seen.iter().all(|seen| !seen.ping && !seen.goodbye), "{piece}");
            assert_eq!(seen.iter().filter(|seen| seen.pong).count(), 1, "{piece}");
        }
        assert!(Frames::after_preface().pass(&frame(PING, b"12345678")).ping);
    }

    #[test]
    fn what_is_not_http_2_says_nothing() {
        let other = [b"PRI * HTTP/2.0\r\n\r\nSN".as_slice(), &frame(GOAWAY, b"")].concat();
        assert_eq!(goodbyes(&other, 5), 0);
    }
}
