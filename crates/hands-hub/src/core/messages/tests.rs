//! What goes in comes out, in less memory where it holds hashes.

use super::*;

#[test]
fn an_action_comes_out_as_it_went_in_and_takes_half_the_memory() {
    let hash = "0123456789abcdef".repeat(4);
    let digest = |size| Some(hands_proto::reapi::Digest { hash: hash.clone(), size_bytes: size });
    let action = hands_proto::reapi::Action {
        command_digest: digest(70),
        input_root_digest: digest(0),
        salt: vec![7; 16].into(),
        ..Default::default()
    };
    let action = prost::Message::encode_to_vec(&action);
    let packed = Packed::new(&action, b"command");
    assert_eq!((&*packed.action(), &*packed.command()), (&*action, &b"command"[..]));
    assert!(packed.len() <= action.len() + "command".len() - 2 * HASH + 3, "{}", packed.len());
}

#[test]
fn any_bytes_come_out_as_they_went_in() {
    let mut state = 7_u64;
    let mut random = move |n: u8| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[2] % n
    };
    for _ in 0..2000 {
        // Runs of characters of which about half are as long as a hash or longer, with other bytes between.
        let mut message = Vec::new();
        for _ in 0..random(6) {
            let run = (0..random(140)).map(|_| b"0123456789abcdef"[usize::from(random(16))]);
            message.extend(run);
            let other = (0..random(3)).map(|_| random(255));
            message.extend(other);
        }
        let packed = Packed::new(&message, &message);
        assert_eq!((&*packed.action(), &*packed.command()), (&*message, &*message));
    }
}
