//! Watching an HTTP/2 peer's frames pass, for one word: that it is about to hang up.

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's header (RFC 9113, 4.1): three bytes of length, one of type, five that do not matter here.
const HEADER: usize = 9;
/// The type of the frame by which a peer announces that it ends the connection (RFC 9113, 6.8).
const GOAWAY: u8 = 7;

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

    /// Takes the next bytes. True once, when the peer says goodbye.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self {
                Self::Done => return false,
                Self::Preface(seen) => {
                    let n = bytes.len().min(PREFACE.len() - *seen);
                    if bytes[..n] != PREFACE[*seen..*seen + n] {
                        *self = Self::Done;
                        return false;
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
                    if header[3] == GOAWAY {
                        *self = Self::Done;
                        return true;
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
        false
    }

    const fn after(left: usize) -> Self {
        if left == 0 { Self::Header([0; HEADER], 0) } else { Self::Payload(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, GOAWAY, PREFACE};

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    /// How many times goodbye is heard, the bytes coming in pieces of this size.
    fn goodbyes(bytes: &[u8], piece: usize) -> usize {
        let mut frames = Frames::new();
        bytes.chunks(piece).filter(|piece| frames.pass(piece)).count()
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
    fn what_is_not_http_2_says_nothing() {
        let other = [b"PRI * HTTP/2.0\r\n\r\nSN".as_slice(), &frame(GOAWAY, b"")].concat();
        assert_eq!(goodbyes(&other, 5), 0);
    }
}
