//! Which action runs where and when, as users expect it: shared evenly, near its inputs, helped when it is slow, and with
//! a sentence for whatever waits.

use std::fs;
use std::io::{Read, Write};
use std::process::Child;
use std::time::{Duration, Instant};

use hands_link::Address;
use hands_proto::reapi;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use prost::Message;
use rustix::process::Signal;

use crate::home::{json, ran, signal};
use crate::killable::Cluster;
use crate::marks::Marks;

/// A batch of so many commands, all of them submitted at once, each of which says a word.
fn batch(cluster: &Cluster, marks: &Marks, word: &str, n: usize) -> Child {
    let line = format!("{}; sleep 0.05\n", marks.say(word));
    cluster.home.write(word, &line.repeat(n));
    cluster.home.start(&["--cluster", &cluster.socket, "batch", "--jobs", "1000", word])
}

#[test]
fn invocations_share_evenly_and_one_action_does_not_wait_behind_a_thousand() {
    let Some(mut marks) = Marks::new() else { return };
    let cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let _worker = cluster.worker("w", &["--slots", "2", &expose, &directory]);
    let first = batch(&cluster, &marks, "first", 1000);
    marks.wait_for(1);
    let second = batch(&cluster, &marks, "second", 1000);
    while marks.next() != "second" {}
    // Both have more than there is room for, and neither gets ahead of the other by more than what a worker holds.
    let mut lead = 0_i32;
    for _ in 0..120 {
        lead += if marks.next() == "first" { 1 } else { -1 };
        assert!(lead.abs() <= 5, "one invocation is {lead} ahead");
    }
    let alone = cluster.detached(&["sh", "-c", &marks.say("alone")]);
    let before: usize = marks.all().values().sum();
    if !marks.all().contains_key("alone") {
        while marks.next() != "alone" {}
    }
    let waited = marks.all().values().sum::<usize>() - before;
    assert!(waited <= 10, "{waited} others were started before it");
    assert_eq!(cluster.hands(&["wait", &alone]).code, 0);
    for batch in [first, second] {
        signal(&batch, Signal::INT);
        let ended = ran(batch.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{}", ended.err);
    }
    let started = marks.all().values().sum::<usize>();
    assert!(started < 1000, "{started} ran: most were queued when the one came");
}

#[test]
fn what_took_longest_is_started_first() {
    let Some(mut marks) = Marks::new() else { return };
    let cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let _worker = cluster.worker("w", &["--slots", "1", &expose, &directory]);
    let home = &cluster.home;
    let line = |word: &str, more: &str| format!("{}; {more}\n", marks.say(word));
    let all = [line("short", ":"), line("long", "sleep 0.6"), line("middle", "sleep 0.2")].concat();
    home.write("all", &all);
    let batch = ["--cluster", &cluster.socket, "batch", "all"];
    // Nothing is known of them yet.
    let first = home.run(&batch);
    assert_eq!(first.code, 0, "{first:?}");
    marks.wait_for(3);
    // The slot is taken, and what the worker holds ahead of it: the rest is the hub's to order.
    let mut holds =
        home.start(&["--cluster", &cluster.socket, "run", "-i", "--", "sh", "-c", "echo; read x"]);
    holds.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let ahead = [cluster.detached(&["true"]), cluster.detached(&["true"])];
    let again = home.start(&batch);
    while json(&cluster.hands(&["ps", "--json"]).out).len() < 6 {}
    holds.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(ran(holds.wait_with_output().unwrap()).code, 0);
    assert_eq!([marks.next(), marks.next(), marks.next()], ["long", "middle", "short"]);
    assert_eq!(ran(again.wait_with_output().unwrap()).code, 0);
    for id in &ahead {
        assert_eq!(cluster.hands(&["wait", id]).code, 0);
    }
}

#[test]
fn a_straggler_is_started_elsewhere_and_the_first_result_wins() {
    let Some(mut marks) = Marks::new() else { return };
    let cluster = Cluster::start();
    let [expose, directory] = marks.flags();
    let file = marks.file("hint");
    let flags = ["--slots", "2", &expose, &directory];
    let slow = cluster.worker("slow", &flags);
    // One kind of work: what its history says is what it took last time.
    let script = format!(
        "cat in; if grep -q long in && ! grep -q fast {}; then {}; exec sleep 1000; fi; {}",
        file.display(),
        marks.say("slow"),
        marks.say("fast"),
    );
    let action = |flags: &[&str], text: &str| {
        cluster.home.write("in", text);
        let fixed = ["-d", "--input", "in", "--", "sh", "-c", &script];
        let begun = cluster.run(&[flags, &fixed].concat());
        assert_eq!(begun.code, 0, "{begun:?}");
        begun.out.trim().to_owned()
    };
    let usual = action(&["--cache"], "short\n");
    assert_eq!(cluster.hands(&["wait", &usual]).code, 0);
    marks.wait_for(1);
    let straggler = action(&["--cache"], "long\n");
    let alone = action(&[], "long, and never from a cache\n");
    marks.wait_for(3);
    let began = Instant::now();
    // From now on whoever starts is fast.
    fs::write(&file, "fast\n").unwrap();
    let fast = cluster.worker("fast", &flags);
    marks.wait_for(4);
    let ended = cluster.hands(&["wait", &straggler]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
    let job = |id: &str| json(&cluster.hands(&["status", "--json", id]).out).remove(0);
    let helped = job(&straggler);
    assert_eq!(
        (&helped["attempt"], &helped["worker"], &helped["exit_code"]),
        (&2.into(), &"fast".into(), &0.into()),
        "{helped}"
    );
    assert_eq!(cluster.hands(&["logs", &straggler]).out, "long\n");
    // What may not be run twice is not, slow or fast, and the first attempt's slot is free again.
    let kept = job(&alone);
    assert_eq!(
        (&kept["state"], &kept["attempt"], &kept["worker"]),
        (&"running".into(), &1.into(), &"slow".into()),
        "{kept}"
    );
    assert_eq!(fast.stop(), Some(0));
    let free = cluster.run(&["--json", "--", "true"]);
    assert_eq!((free.code, &json(&free.out)[0]["worker"]), (0, &"slow".into()), "{free:?}");
    assert_eq!(marks.all()["slow"], 2);
    assert_eq!(marks.all()["fast"], 2);
    // The result that won is the one that is kept.
    let again = action(&["--cache"], "long\n");
    assert_eq!(cluster.hands(&["wait", &again]).code, 0);
    assert_eq!(job(&again)["cached"], true);
    assert_eq!(cluster.hands(&["cancel", &alone]).code, 0);
    assert_eq!(slow.stop(), Some(0));
}

/// The root digest of what an action was given, as a layer's value has it.
async fn input_root(cluster: &Cluster, id: &str) -> String {
    let job = json(&cluster.hands(&["status", "--json", id]).out).remove(0);
    let action = job["action_digest"].as_str().unwrap();
    let (hash, size) = action.rsplit('/').next().zip(action.rsplit('/').nth(1)).map_or_else(
        || panic!("{action}"),
        |(size, hash)| (hash.to_owned(), size.parse().unwrap()),
    );
    let channel = hands_link::connect(&cluster.socket.parse::<Address>().unwrap());
    let request = reapi::BatchReadBlobsRequest {
        digests: vec![reapi::Digest { hash, size_bytes: size }],
        ..Default::default()
    };
    let mut client = ContentAddressableStorageClient::new(channel);
    let answer = client.batch_read_blobs(request).await.unwrap().into_inner();
    let action = reapi::Action::decode(answer.responses[0].data.clone()).unwrap();
    let root = action.input_root_digest.unwrap();
    format!("{}/{}", root.hash, root.size_bytes)
}

#[tokio::test]
async fn of_idle_workers_the_one_that_holds_the_layer_gets_the_action() {
    let mut cluster = Cluster::start();
    let worker =
        |cluster: &Cluster, name: &str| cluster.worker(name, &["--slots", "1", "--tag", name]);
    let (_a, b) = (worker(&cluster, "a"), worker(&cluster, "b"));
    let mut layers = Vec::new();
    for name in ["a", "b"] {
        cluster.home.write(name, &name.repeat(3 << 20));
        let sent = ["--tag", name, "--json", "--input", name, "--", "true"];
        let sent = cluster.run(&sent);
        assert_eq!(sent.code, 0, "{sent:?}");
        let id = json(&sent.out)[0]["id"].as_str().unwrap().to_owned();
        layers.push((name, format!("layer=/layer={}", input_root(&cluster, &id).await)));
    }
    let to_its_holder = |cluster: &Cluster, turns: &[usize]| {
        for (turn, which) in turns.iter().enumerate() {
            let (name, layer) = &layers[*which];
            let command = format!("head -c 1 /layer/{name}");
            let done = cluster.run(&["--json", "--prop", layer, "--", "sh", "-c", &command]);
            assert_eq!(done.code, 0, "{done:?}");
            let done = json(&done.out).remove(0);
            assert_eq!(done["worker"], *name, "{turn}: {done}");
            assert_eq!(done["stdout"], *name, "{turn}: {done}");
        }
    };
    to_its_holder(&cluster, &[1, 0, 0, 1, 1, 0, 1]);
    // A worker that comes back says what it holds; so do all to a hub that does.
    assert_eq!(b.stop(), Some(0));
    let _b = worker(&cluster, "b");
    to_its_holder(&cluster, &[1, 0]);
    cluster.kill_hub();
    cluster.start_hub();
    while json(&cluster.hands(&["workers", "--json"]).out).len() < 2 {}
    to_its_holder(&cluster, &[0, 1]);
}

#[test]
fn why_has_a_sentence_for_every_state() {
    let cluster = Cluster::start();
    let why = |id: &str| {
        let told = cluster.hands(&["why", id]);
        assert_eq!((told.code, told.out.lines().count()), (0, 1), "{told:?}");
        told.out.trim().to_owned()
    };
    let running = cluster.detached(&["sh", "-c", "echo begun; exec sleep 1000"]);
    assert_eq!(why(&running), "waiting: no worker is connected");
    let worker = cluster.worker("w", &["--slots", "1"]);
    cluster.until_output(&running, "begun");
    let told = why(&running);
    assert!(
        told.starts_with("nothing: it has been running for ") && told.ends_with(" on w"),
        "{told}"
    );
    let behind: Vec<String> = (0..4).map(|_| cluster.detached(&["true"])).collect();
    let short = "with 1 of 1 cpus in use and it needs 1";
    assert_eq!(why(&behind[0]), format!("waiting: worker w has it next, {short}"));
    assert_eq!(why(&behind[1]), format!("waiting: worker w has it after 1 other, {short}"));
    let queued =
        "waiting: the 1 worker that could take it is busy; 1 other action of its kind is queued";
    assert_eq!([why(&behind[2]), why(&behind[3])], [queued, queued]);
    let never = cluster.run(&["-d", "--arch", "riscv64", "--", "true"]).out.trim().to_owned();
    let here = std::env::consts::ARCH;
    let unmet = format!("waiting: no worker offers arch=riscv64; 1 worker offers {here}");
    assert_eq!(why(&never), unmet);
    // Its worker dies, and is waited for.
    drop(worker);
    let told = why(&running);
    let away = "waiting: worker w has it and is not connected; if it does not come back, the action is queued again in ";
    assert!(told.starts_with(away) && told.ends_with(" s"), "{told}");
    let listed = json(&cluster.hands(&["why", "--json", &running]).out).remove(0);
    assert!(listed["why"].as_str().unwrap().starts_with(away), "{listed}");
    let _worker = cluster.worker("other", &["--slots", "1"]);
    cluster.until_output(&running, "begun");
    while !why(&running).starts_with("nothing: ") {}
    let told = why(&running);
    assert!(told.ends_with(" on other, attempt 2"), "{told}");
    assert_eq!(cluster.hands(&["cancel", &running, &never]).code, 0);
    for id in &behind {
        assert_eq!(cluster.hands(&["wait", id]).code, 0);
        assert_eq!(why(id), "nothing: it has ended (done)");
    }
    let told = why(&running);
    assert!(told.starts_with("nothing: it has ended (") && told.contains("cancel"), "{told}");
}
