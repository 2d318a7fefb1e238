//! What a large blob needs on this machine at the least: nothing but the work that nobody can leave out.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use hands_tree::Hasher;
use hands_types::Digest;

/// As the blob client and the services do it.
const PIECE: usize = 1 << 20;
/// Buffers between who receives and who hashes.
const BUFFERS: usize = 4;

/// Sends `content` from memory over loopback TCP to a thread that writes it to a new file while another hashes it; no
/// HTTP/2, no messages, no store.
pub(crate) fn receive(content: &[u8], digest: Digest, path: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut stream = TcpStream::connect(address).expect("it listens");
            for piece in content.chunks(PIECE) {
                stream.write_all(piece).expect("it reads");
            }
        });
        let (full, to_hash) = sync_channel::<(Vec<u8>, usize)>(BUFFERS);
        let (empty, to_fill) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            empty.send(vec![0; PIECE]).expect("there is room");
        }
        let hashing = scope.spawn(move || {
            let mut hasher = Hasher::new(digest.function);
            for (buffer, len) in to_hash {
                hasher.update(&buffer[..len]);
                // At the end nobody wants it back.
                drop(empty.send(buffer));
            }
            hasher.finish()
        });
        let (mut stream, _) = listener.accept().expect("it connects");
        let mut file = File::create(path).expect("a file");
        let mut left = content.len();
        while left > 0 {
            let mut buffer = to_fill.recv().expect("it hashes");
            let len = left.min(PIECE);
            stream.read_exact(&mut buffer[..len]).expect("it sends");
            file.write_all(&buffer[..len]).expect("room");
            left -= len;
            full.send((buffer, len)).expect("it hashes");
        }
        drop(full);
        assert_eq!(hashing.join().expect("no panic"), digest);
    });
}
