//! Which image of a place is taken.

use super::*;

#[test]
fn one_of_several_has_to_be_named() {
    let mut made = Made::new();
    let layer = |name: &str| vec![(tar_of(name), tar_of(name))];
    made.manifests =
        ["one", "two"].map(|n| made.manifest(ARCH, &layer(&format!("{n}=")), &tag(n))).to_vec();
    made.index();
    refused(&made, "it has several images, name one: one, two");
    assert!(made.read("two").is_ok());
    let error = made.read("three").unwrap_err().to_string();
    assert_eq!(error, "it has no image `three`; it has one, two");
    let nothing = Made { manifests: Vec::new(), ..made };
    nothing.index();
    let error = nothing.read("x").unwrap_err().to_string();
    assert_eq!(error, "it has no image `x`; it has none with a name");
}

#[test]
fn what_was_read_is_told_where_a_name_moves_meanwhile() {
    let mut made = Made::new();
    let layer = |name: &str| vec![(tar_of(name), tar_of(name))];
    let named = |made: &Made, n: &str| made.manifest(ARCH, &layer(&format!("{n}=")), &tag("x"));
    let (one, two) = (named(&made, "one"), named(&made, "two"));
    let identity = |made: &Made| {
        identity(&made.place(), &wanted("x"), &ImageLimits::standard()).unwrap().unwrap()
    };
    made.manifests = vec![one];
    made.index();
    let before = identity(&made);
    assert_eq!(made.read("x").unwrap().manifest, Some(before.clone()));
    made.manifests = vec![two];
    made.index();
    let image = made.read("x").unwrap();
    assert_eq!(image.manifest, Some(identity(&made)));
    assert_ne!(image.manifest, Some(before));
}

#[test]
fn the_platform_chooses_also_within_an_index() {
    let mut made = Made::new();
    let platform = |arch: &str| format!(r#","platform":{{"os":"linux","architecture":"{arch}"}}"#);
    let one = |arch: &str| {
        made.manifest(
            arch,
            &[(tar_of(arch), tar_of(&format!("{arch}=")))].map(|(_, t)| (t.clone(), t)),
            &platform(arch),
        )
    };
    let note = r#","platform":{"os":"unknown","architecture":"unknown"}"#;
    let note = made.blob("application/vnd.oci.image.manifest.v1+json", b"{}", note);
    let both = |a: &str, b: &str| format!(r#"{{"manifests":[{note},{},{}]}}"#, one(a), one(b));
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = made.blob(kind, both("arm64", ARCH).as_bytes(), &tag("x"));
    let others = made.blob(kind, both("arm64", "s390x").as_bytes(), &tag("x"));
    made.manifests = vec![index];
    made.index();
    shows(&made.place(), "amd64=");
    made.manifests = vec![others];
    made.index();
    refused(&made, "the image is not there for linux/amd64; it is for linux/arm64, linux/s390x");
    // What the index does not say, the configuration does.
    made.manifests = vec![made.manifest("arm64", &[], "")];
    made.index();
    refused(&made, "the image is not there for linux/amd64; it is for linux/arm64");
}

/// A docker-archive of these members.
fn archive(members: &[(&str, &[u8])], links: &[&str]) -> Place {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in members {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    for link in links {
        add(&mut builder, link);
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&builder.into_inner().unwrap()).unwrap();
    Place::Archive(file)
}

#[test]
fn a_docker_archive_is_read_with_layers_that_are_links() {
    let tars = ["a=1 b=1", ".wh.a"].map(tar_of);
    let config = |tars: &[&Vec<u8>]| {
        let ids: Vec<String> = tars.iter().map(|t| format!(r#""sha256:{}""#, hex(t))).collect();
        format!(
            r#"{{"os":"linux","architecture":"amd64","rootfs":{{"diff_ids":[{}]}}}}"#,
            ids.join(",")
        )
    };
    let [two, one] = [config(&[&tars[0], &tars[1]]), config(&[&tars[0]])];
    let name = |config: &str| format!("{}.json", hex(config.as_bytes()));
    let list = format!(
        r#"[{{"Config":"{}","RepoTags":["x:2"],"Layers":["A/layer.tar","B/layer.tar"]}},
            {{"Config":"{}","RepoTags":["x:1"],"Layers":["C/layer.tar"]}}]"#,
        name(&two),
        name(&one)
    );
    let members: [(&str, &[u8]); 5] = [
        ("A/layer.tar", &tars[0]),
        ("B/layer.tar", &gzip(&tars[1])),
        (&name(&two), two.as_bytes()),
        (&name(&one), one.as_bytes()),
        ("manifest.json", list.as_bytes()),
    ];
    let place = archive(&members, &["C/layer.tar->../A/layer.tar"]);
    let memory = Memory::default();
    for (tag, expect) in [("x:2", "b=1"), ("x:1", "a=1 b=1")] {
        let image = read(&place, &wanted(tag), SHA, &ImageLimits::standard(), &memory).unwrap();
        let mut all = Vec::new();
        memory.list(&image.root, "", &mut all);
        assert_eq!(all.join(" "), expect);
    }
    let error = |place: &Place, tag: &str| {
        read(place, &wanted(tag), SHA, &ImageLimits::standard(), &memory).unwrap_err().to_string()
    };
    assert_eq!(error(&place, ""), "it has several images, name one: x:2, x:1");
    assert_eq!(error(&place, "y"), "it has no image `y`; it has x:2, x:1");
    let other: Vec<(&str, &[u8])> = members
        .iter()
        .map(|(n, c)| (*n, if *n == "A/layer.tar" { &tars[1][..] } else { *c }))
        .collect();
    assert_eq!(
        error(&archive(&other, &[]), "x:2"),
        "the image is damaged: layer 1 (A/layer.tar) expands to something else than its configuration says"
    );
    assert_eq!(
        error(&archive(&members, &[]), "x:1"),
        "the image is damaged: layer 1 (C/layer.tar) is missing"
    );
    let looped = archive(&members, &["C/layer.tar->D", "C/D->layer.tar"]);
    assert_eq!(
        error(&looped, "x:1"),
        "the image is damaged: layer 1 (C/layer.tar) is a link that leads to no file"
    );
    assert_eq!(
        error(&archive(&members[..2], &[]), ""),
        "this is no docker-archive: it has no manifest.json"
    );
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&gzip(b"x")).unwrap();
    assert_eq!(
        error(&Place::Archive(file), ""),
        "the archive is compressed: unpack it with `gunzip` or `unzstd` first"
    );
}
