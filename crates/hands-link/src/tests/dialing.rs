//! Which of a hub's addresses is tried when.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::member::dial_any;
use crate::tls::{ClientTls, client_config};
use crate::{HostPort, LinkError, Pin};

#[tokio::test]
async fn an_address_that_refuses_does_not_keep_the_next_one_waiting() {
    let at = |listener: &TcpListener| -> HostPort {
        listener.local_addr().expect("bound").to_string().parse().expect("an address")
    };
    let bound = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let refusing = at(&bound);
    drop(bound);
    let stranger = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addresses = [refusing.clone(), refusing, at(&stranger)];
    let answers = tokio::spawn(async move {
        let (mut peer, _) = stranger.accept().await.expect("who comes");
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("taken");
    });
    let pin = Pin([7; 32]);
    let tls = ClientTls::new(client_config(pin, None).expect("a configuration"), &pin);
    let hour = Duration::from_secs(3600);
    let dialed = tokio::time::timeout(hour / 60, dial_any(&addresses, hour, &tls, "build")).await;
    match dialed.expect("the third is reached without waiting for the others' turns") {
        Err(LinkError::WrongHub { address, .. }) => assert_eq!(Some(&address), addresses.last()),
        other => panic!("{other:?}"),
    }
    answers.await.expect("it was reached");
}
