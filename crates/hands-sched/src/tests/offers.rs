//! What actions ask of workers, and what nobody offers.

use super::*;

#[test]
fn what_nobody_offers_is_said_at_once_and_given_up_in_time() {
    check(
        "0 open s11 +ISA=amd64 +OSFamily=Linux
         0 open s21 +ISA=x86-64 gib=4
         0 open s31 +arch=X86_64
         1 submit o1 +arch=arm64 patience=5
         1 submit o2 +memory=8G +cpu=2 +ISA=x86_64
         1 submit o3 +OSFamily=linux +ISA=x86_64 +EstimatedComputeUnits=3 +tag=big
         2 why o1
         3 open s41 +ISA=aarch64
         4 drain s41
         5 back s41 o1#1 draining
         9 tick",
        "1 o1 waiting: no worker offers arch=aarch64; 3 workers offer x86_64
         1 o2 waiting: no worker offers cpu=2; 3 workers offer cpu=1
         1 o3 waiting: no worker offers all that it needs; 2 workers offer no os=linux, 1 worker offers no tag=big
         2 waiting: no worker offers arch=aarch64; 3 workers offer x86_64
         3 lease s41 o1#1
         5 requeued o1#1 handed back
         5 o1 waiting: no worker offers arch=aarch64; 3 workers offer x86_64
         9 fail o1: no worker offers arch=aarch64; 3 workers offer x86_64",

    );
}

#[test]
fn platforms_are_read_and_bad_ones_refused() {
    let read = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Needs::from_platform(&Platform::new(pairs))
    };
    let needs = read(&[
        ("cpu", "1.5"),
        ("memory", "2G"),
        ("resources:gpu", "2"),
        ("Pool", "a"),
        ("Arch", "amd64"),
    ]);
    let needs = needs.unwrap();
    assert_eq!((needs.resources.cpu_millis, needs.resources.memory), (1500, 2 << 30));
    assert_eq!(needs.resources.custom, BTreeMap::from([("gpu".to_owned(), 2)]));
    let names: Vec<&str> = needs.properties().keys().map(String::as_str).collect();
    assert_eq!(names, ["ISA", "Pool"]);
    for (name, value) in
        [("cpu", "many"), ("cpu", "0"), ("cpu", "1."), ("memory", "2X"), ("memory", "99999999T")]
    {
        assert_eq!(read(&[(name, value)]).unwrap_err().value, value);
    }
}
