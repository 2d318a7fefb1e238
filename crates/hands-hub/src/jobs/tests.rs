//! Input on its way to an action.

use futures_util::FutureExt as _;
use hands_proto::v1;
use tokio::sync::{mpsc, watch};

use super::pass_on;
use crate::core::InputRoute;

#[tokio::test]
async fn who_hangs_up_while_input_waits_leaves_no_gap() {
    let (out, mut worker) = mpsc::channel(1);
    let route = InputRoute {
        id: v1::AttemptId::default(),
        out,
        sent: Default::default(),
        is_told: false,
        number: 0,
    };
    let (_routes, mut routes) = watch::channel(Some(route));
    let data = |text: &'static str| v1::attach_message::Kind::Data(text.into());
    assert!(pass_on(&mut routes, data("one")).await.unwrap());
    // The worker reads nothing yet, so this one waits, and is given up.
    assert!(pass_on(&mut routes, data("lost")).now_or_never().is_none());
    let mut hear = async || match worker.recv().await.unwrap().kind.unwrap() {
        v1::hub_message::Kind::Input(input) => (input.offset, input.kind.unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(hear().await, (0, v1::input::Kind::Data("one".into())));
    assert!(pass_on(&mut routes, data("two")).await.unwrap());
    assert_eq!(hear().await, (3, v1::input::Kind::Data("two".into())));
    assert!(pass_on(&mut routes, v1::attach_message::Kind::Eof(true)).await.unwrap());
    assert_eq!(hear().await, (6, v1::input::Kind::Eof(true)));
    // What finds the worker gone is missed by it, should it come back.
    drop(worker);
    assert!(pass_on(&mut routes, data("gone")).await.unwrap());
    let route = routes.borrow().clone().unwrap();
    assert_eq!(route.sent.handed().bytes, 10);
}
