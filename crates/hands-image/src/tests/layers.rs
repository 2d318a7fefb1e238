//! What layers become.

use super::*;

#[test]
fn plain_gzip_and_zstd_layers_lie_over_each_other() {
    let tars = ["a=1 d/ d/x=1 d/y=1 gone/ gone/z=1", "755:d/x=2 .wh.gone", "d/.wh.y new->a"];
    let tars = tars.map(tar_of);
    let zstd = zstd::encode_all(&tars[2][..], 1).unwrap();
    let layers = [
        (tars[0].clone(), tars[0].clone()),
        (gzip(&tars[1]), tars[1].clone()),
        (zstd, tars[2].clone()),
    ];
    let made = Made::of(&layers);
    let image = shows(&made.place(), "a=1 new->a d/ d/x*=2");
    assert_eq!((image.entries, image.bytes, image.lost), (10, 5, Lost::default()));
    let env = [("PATH", "/bin"), ("A", "b=c")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(
        image.config,
        ImageConfig {
            env: env.to_vec(),
            working_directory: "/w".to_owned(),
            entrypoint: vec!["/e".to_owned()],
            command: Vec::new(),
            user: "1:2".to_owned(),
        }
    );
}

#[test]
fn an_opaque_directory_begins_anew_and_a_mark_spares_its_own_layer() {
    let made =
        Made::of_tars(&["d/x=1 e/y=1 f=1", "e/.wh..wh..opq e/z=2 .wh.f f=2 .wh..wh.plnk/1=x"]);
    shows(&made.place(), "f=2 d/ d/x=1 e/ e/z=2");
    let error = Made::of_tars(&[".wh.d/x=1"]).read("").unwrap_err().to_string();
    assert!(error.ends_with("has .wh.d/x: a mark is no directory"), "{error}");
    let made = Made::of_tars(&["a=1 b/c=1", ".wh..wh..opq n=2"]);
    shows(&made.place(), "n=2");
}

#[test]
fn of_an_entry_that_stands_there_twice_the_last_counts() {
    let made = Made::of_tars(&["a=1 a=2 d/x=1 d=3 e=1 e/ ./e/y=1 d2/ d2/z=1 d2/"]);
    shows(&made.place(), "a=2 d=3 d2/ d2/z=1 e/ e/y=1");
}

#[test]
fn hard_links_are_their_files_also_of_layers_below() {
    let made = Made::of_tars(&["755:a=1 b=>a d/s->../a", "c=>a d/e=>./b l=>d/s"]);
    shows(&made.place(), "a*=1 b*=1 c*=1 l->../a d/ d/e*=1 d/s->../a");
    for layers in [&["b=>a"][..], &["a=1", ".wh.a b=>a"], &["a/", "b=>a"]] {
        let error = Made::of_tars(layers).read("").unwrap_err().to_string();
        assert!(error.contains("has b: a hard link to a, which is no file"), "{error}");
    }
}

#[test]
fn targets_of_hard_links_are_found_through_links() {
    let made = Made::of_tars(&["usr/lib/a=1 lib->usr/lib", "n=>lib/a m=>./lib/../lib/a"]);
    shows(&made.place(), "m=1 n=1 lib->usr/lib usr/ usr/lib/ usr/lib/a=1");
}

#[test]
fn below_a_directory_made_again_nothing_of_the_old_one_counts() {
    let made = Made::of_tars(&["d/l->x d/x/o=1", ".wh.d d/n=1 d/l/f=2"]);
    shows(&made.place(), "d/ d/n=1 d/l/ d/l/f=2");
    let error = Made::of_tars(&["d/a=1", ".wh.d d/n=1 h=>d/a"]).read("").unwrap_err().to_string();
    assert!(error.contains("has h: a hard link to d/a, which is no file"), "{error}");
}

#[test]
fn links_on_the_way_are_followed_as_a_kernel_does() {
    let made = Made::of_tars(&["usr/lib/a=1 lib->usr/lib abs->/usr", "lib/b=2 abs/c=3 lib/.wh.a"]);
    shows(&made.place(), "abs->/usr lib->usr/lib usr/ usr/c=3 usr/lib/ usr/lib/b=2");
    // A directory of its own covers the link.
    let made = Made::of_tars(&["usr/lib/a=1 lib->usr/lib", "lib/ lib/b=2"]);
    shows(&made.place(), "lib/ lib/b=2 usr/ usr/lib/ usr/lib/a=1");
    for (layers, why) in [
        ("a->../.. a/b=1", "outside"),
        ("a->b b->a a/c=1", "leads back to itself"),
        ("a=1 a/b=1", "is not a directory"),
        ("a->nowhere a/b=1", "there is nothing"),
    ] {
        let error = Made::of_tars(&[layers]).read("").unwrap_err().to_string();
        assert!(error.contains(why), "{layers}: {error}");
    }
}

#[test]
fn long_names_of_both_kinds_and_times_are_read() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let mut builder = tar::Builder::new(Vec::new());
    add(&mut builder, &format!("{long}=gnu"));
    let pax = format!("p{long}");
    // A value with newlines and zeros, as those of capabilities are.
    let records =
        [("path", pax.as_bytes()), ("mtime", &b"-1.25"[..]), ("SCHILY.xattr.x", &b"\n\0=\n"[..])];
    builder.append_pax_extensions(records).unwrap();
    add(&mut builder, "4755:short=pax");
    let tar = builder.into_inner().unwrap();
    let made = Made::of(&[(tar.clone(), tar)]);
    let dir = "d".repeat(200);
    let file = "f".repeat(200);
    let memory = Memory::default();
    let image = read(&made.place(), &wanted(""), SHA, &ImageLimits::standard(), &memory).unwrap();
    let mut all = Vec::new();
    memory.list(&image.root, "", &mut all);
    let expect = [
        format!("{dir}/"),
        format!("{dir}/{file}=gnu"),
        format!("p{dir}/"),
        format!("p{dir}/{file}*=pax"),
    ];
    assert_eq!(all, expect);
    assert_eq!(image.lost, Lost { modes: 1, attributes: 1, special: 0 });
    let times: Vec<(i64, i32)> = memory
        .0
        .borrow()
        .values()
        .filter_map(|bytes| reapi::Directory::decode(bytes.clone()).ok())
        .flat_map(|directory| directory.files)
        .filter_map(|file| file.node_properties?.mtime)
        .map(|time| (time.seconds, time.nanos))
        .collect();
    assert!(times.contains(&(7, 0)) && times.contains(&(-2, 750_000_000)), "{times:?}");
}

#[test]
fn devices_are_left_out_and_counted() {
    let mut builder = tar::Builder::new(Vec::new());
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        builder.append_data(&mut header, "dev/x", &[][..]).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    let image = shows(&Made::of(&[(tar.clone(), tar)]).place(), "dev/");
    assert_eq!(image.lost.special, 3);
}

#[test]
fn an_image_without_layers_is_empty() {
    shows(&Made::of(&[]).place(), "");
}

#[test]
fn depth_counts_where_links_have_led() {
    let deep = ["a"; 150].join("/");
    let error = Made::of_tars(&[&format!("{deep}/ l->{deep} l/{deep}/x=1")]).read("").unwrap_err();
    let error = error.to_string();
    assert!(error.contains("it lies deeper than 200 directories"), "{error}");
}

#[test]
fn directories_that_paths_ask_for_count_as_entries() {
    let made = Made::of_tars(&["a/b/c/x=1 a/b/d/y=2"]);
    // Each directory of the second path, but for those of the first, is met when an entry follows.
    for (entries, fits) in [(5, true), (4, false)] {
        let limits = ImageLimits { entries, ..ImageLimits::standard() };
        let read = read(&made.place(), &wanted(""), SHA, &limits, &Memory::default());
        assert_eq!(read.is_ok(), fits, "{entries}");
    }
}

#[test]
fn a_mark_may_be_a_hard_link_to_another() {
    let made = Made::of_tars(&["a=1 b=1 c=1", ".wh.a= .wh.b=>.wh.a"]);
    shows(&made.place(), "c=1");
}
