//! Places for connections, and peers that do not begin to speak.

use std::net::SocketAddr;

use crate::bounds::{MAX_CONNECTIONS, MAX_CONNECTIONS_OF_ONE, OPENING, Places, Shares};
use crate::tls::PeerCertificate;
use crate::{Address, Listener, Peer, Standing};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;

#[test]
fn nobody_takes_all_places_and_each_is_free_again() {
    let shares = Shares::of(1 << 20);
    let places = Places::new(shares);
    let peer = |n: u8, port| Peer::at(SocketAddr::from(([10, 0, 0, n], port)), Standing::Stranger);
    let mut taken: Vec<_> = (0..MAX_CONNECTIONS_OF_ONE)
        .map(|n| places.take(&peer(1, u16::try_from(n).expect("a port")), None).expect("a place"))
        .collect();
    assert!(places.take(&peer(1, 9), None).is_none(), "one address takes more than its share");
    let mut others = Vec::new();
    for n in (2..=200).cycle() {
        let Some(place) = places.take(&peer(n, 1), None) else { break };
        others.push(place);
    }
    assert_eq!(taken.len() + others.len(), MAX_CONNECTIONS / 4 * 3);
    // A quarter is for those who are known, and for this user.
    others.extend(places.take(&Peer::this_process(), None));
    for n in (2..=200).cycle() {
        let Some(place) = places.take(&peer(n, 1), Some(&member(&n.to_string()))) else { break };
        others.push(place);
    }
    assert_eq!(taken.len() + others.len(), MAX_CONNECTIONS);
    assert!(places.take(&Peer::this_process(), None).is_none(), "more than there are");
    taken.pop();
    assert!(places.take(&peer(1, 9), Some(&member("1"))).is_some());
}

fn member(name: &str) -> PeerCertificate {
    PeerCertificate { uris: vec![name.to_owned()], p256: None, key: [0; 32], not_after: None }
}

#[test]
fn strangers_of_an_address_keep_no_member_there_out_and_one_member_no_other() {
    let places = Places::new(Shares::of(1 << 20));
    let peer = |port| Peer::at(SocketAddr::from(([10, 0, 0, 1], port)), Standing::Stranger);
    let mut taken = Vec::new();
    for owner in [None, Some(member("a")), Some(member("b"))] {
        for n in 0..MAX_CONNECTIONS_OF_ONE {
            let port = u16::try_from(n).expect("a port");
            taken.push(places.take(&peer(port), owner.as_ref()).expect("a place"));
        }
        assert!(places.take(&peer(9), owner.as_ref()).is_none(), "{owner:?}");
    }
    // A certificate of a foreign authority without a name is one by its key, and takes nothing of what is kept for members.
    let foreign = |key| PeerCertificate { uris: Vec::new(), key: [key; 32], ..member("") };
    taken.clear();
    for n in 0..MAX_CONNECTIONS_OF_ONE {
        let port = u16::try_from(n).expect("a port");
        taken.push(places.take(&peer(port), Some(&foreign(1))).expect("a place"));
    }
    assert!(places.take(&peer(9), Some(&foreign(1))).is_none());
    for key in 2..=u8::MAX {
        while let Some(place) = places.take(&peer(9), Some(&foreign(key))) {
            taken.push(place);
        }
    }
    assert!(places.take(&peer(9), Some(&member("a"))).is_some(), "all places are gone");
    taken.clear();
    assert!(
        places.take(&peer(9), None).is_some()
            && places.take(&peer(9), Some(&member("a"))).is_some()
    );
}

#[test]
fn listeners_leave_descriptors_for_files() {
    for descriptors in [64, 256, 1024, 4096, 1 << 20, usize::MAX] {
        let shares = Shares::of(descriptors);
        assert!(2 * (shares.all + shares.handshakes) <= descriptors / 4 * 3, "{shares:?}");
        assert!(shares.of_one < shares.strangers && shares.strangers < shares.all, "{shares:?}");
        assert!(shares.handshakes_of_one > 0 && shares.of_one > 0, "{shares:?}");
    }
    assert_eq!(Shares::of(1 << 20).of_one, MAX_CONNECTIONS_OF_ONE);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_begin_to_speak_is_hung_up_on_and_who_has_begun_is_not() {
    let listener = Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).expect("a listener");
    let Some(Address::Tcp(address)) = listener.address().cloned() else { panic!("no address") };
    let mut incoming = listener.incoming();
    let mut buffer = [0; 64];
    for (bytes, is_late) in [(32, true), (33, false)] {
        let mut peer = tokio::net::TcpStream::connect(address).await.expect("connected");
        let mut connection = incoming.next().await.expect("one").expect("accepted");
        peer.write_all(&vec![b'x'; bytes]).await.expect("sent");
        let mut came = 0;
        while came < bytes {
            came += connection.read(&mut buffer).await.expect("what was sent");
        }
        let next = tokio::time::timeout(OPENING * 2, connection.read(&mut buffer)).await;
        assert_eq!(next.is_ok_and(|read| read.is_err()), is_late);
    }
}
