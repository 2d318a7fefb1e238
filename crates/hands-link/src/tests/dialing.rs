//! Which of a hub's routes is tried when, and what is said when none leads there.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::race::race;
use crate::tls::{ClientTls, client_config};
use crate::{Pin, Route};

#[tokio::test]
async fn an_address_that_refuses_does_not_keep_the_next_one_waiting() {
    let at = |listener: &TcpListener| -> Route {
        listener.local_addr().expect("bound").to_string().parse().expect("an address")
    };
    let bound = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let refusing = at(&bound);
    drop(bound);
    let stranger = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let routes = [refusing.clone(), refusing.clone(), at(&stranger)];
    let answers = tokio::spawn(async move {
        let (mut peer, _) = stranger.accept().await.expect("who comes");
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("taken");
    });
    let pin = Pin([7; 32]);
    let tls = ClientTls::new(client_config(pin, None).expect("a configuration"), &pin);
    let hour = Duration::from_secs(3600);
    let dialed = tokio::time::timeout(hour / 60, race(&routes, hour, &tls, "build")).await;
    match dialed.expect("the third is reached without waiting for the others' turns") {
        Err(error) => {
            let said = error.to_string();
            let stranger = &routes[2];
            assert!(
                said.starts_with(&format!("can't reach the hub of build: {refusing}: ")),
                "{said}"
            );
            assert!(said.contains(&format!("; {stranger} is not the cluster's hub: ")), "{said}");
            // An address of the hub's may be another's here: the hub may come again, and may run all the while.
            assert!(!error.is_wrong_hub() && !error.is_hub_absent() && error.class().retry());
        }
        Ok(_) => panic!("none of them is the hub"),
    }
    answers.await.expect("it was reached");
}
