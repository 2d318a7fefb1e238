//! What is not what it should be, or too large.

use super::*;

/// The blob that holds these bytes.
fn blob(made: &Made, bytes: &[u8]) -> std::path::PathBuf {
    made.path().join("blobs/sha256").join(hex(bytes))
}

#[test]
fn the_list_of_an_archive_that_nobody_waits_for_is_not_gone_through() {
    struct Unwanted(Memory);
    impl Sink for Unwanted {
        fn file(&self, content: &mut dyn Read, size: u64) -> Result<Digest, SinkError> {
            self.0.file(content, size)
        }
        fn directories(&self, directories: Vec<(Digest, Bytes)>) -> Result<(), SinkError> {
            self.0.directories(directories)
        }
        fn is_wanted(&self) -> bool {
            false
        }
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&tar_of("a=1 b=2")).unwrap();
    let wanted = Wanted { reference: String::new(), os: "linux".into(), architecture: ARCH.into() };
    let (limits, sink) = (ImageLimits::standard(), Unwanted(Memory::default()));
    let ended = read(&Place::Archive(file), &wanted, SHA, &limits, &sink);
    assert!(matches!(ended, Err(ImageError::Cancelled)), "{ended:?}");
}

#[test]
fn each_damage_is_one_sentence() {
    let tar = tar_of("a=1");
    let zipped = gzip(&tar);
    let layers = [(zipped.clone(), tar.clone())];
    let layer = format!("the image is damaged: layer 1 ({})", &hex(&zipped)[..12]);

    let made = Made::of(&layers);
    fs::write(blob(&made, &zipped), &zipped[..20]).unwrap();
    let left = zipped.len() - 20;
    refused(&made, &format!("{layer} ends {left} bytes before its end"));
    fs::remove_file(blob(&made, &zipped)).unwrap();
    refused(&made, &format!("{layer} is missing"));
    // Other content that unpacks well, of the same length.
    let other = gzip(&tar_of("a=2"));
    assert_eq!(other.len(), zipped.len());
    fs::write(blob(&made, &zipped), &other).unwrap();
    refused(&made, &format!("{layer} expands to something else than its configuration says"));

    // The layer's own digest, where what it expands to is right: another level of compression's head.
    let made = Made::of(&layers);
    let mut head = zipped.clone();
    head[4] ^= 1;
    fs::write(blob(&made, &zipped), &head).unwrap();
    refused(&made, &format!("{layer} is not what its digest says"));

    let made = Made::of(&[(tar.clone(), tar_of("b=1"))]);
    let plain = format!("the image is damaged: layer 1 ({})", &hex(&tar)[..12]);
    refused(&made, &format!("{plain} expands to something else than its configuration says"));

    let junk = b"no tar at all, but long enough to be a header of one".repeat(20);
    let made = Made::of(&[(junk.clone(), junk.clone())]);
    let plain = format!("the image is damaged: layer 1 ({})", &hex(&junk)[..12]);
    refused(&made, &format!("{plain} is no tar, or a header of it is damaged"));

    let made = Made::new();
    refused(&made, "this is no OCI image layout: it has no index.json");
    fs::write(made.path().join("index.json"), "{").unwrap();
    let error = made.read("").unwrap_err().to_string();
    assert!(error.starts_with("the image is damaged: index.json makes no sense: EOF"), "{error}");
}

#[test]
fn a_bomb_stops_at_the_first_byte_above() {
    let tar = tar_of(&format!("a={}", "0".repeat(1 << 20)));
    let made = Made::of(&[(gzip(&tar), tar.clone())]);
    let limits = |expanded| ImageLimits { expanded, ..ImageLimits::standard() };
    let place = made.place();
    let with = |limits: &ImageLimits| read(&place, &wanted(""), SHA, limits, &Memory::default());
    assert!(with(&limits(tar.len() as u64)).is_ok());
    let error = with(&limits(tar.len() as u64 - 1)).unwrap_err().to_string();
    let most = tar.len() - 1;
    assert_eq!(
        error,
        format!("the image is too large: its layers expand to more than {most} bytes")
    );

    // Both layers together count.
    let twice = Made::of(&[(gzip(&tar), tar.clone()), (gzip(&tar), tar.clone())]);
    let read_twice = |expanded: usize| {
        let limits = limits(expanded as u64);
        read(&twice.place(), &wanted(""), SHA, &limits, &Memory::default())
    };
    assert!(read_twice(2 * tar.len()).is_ok());
    assert!(read_twice(2 * tar.len() - 1).is_err());
}

#[test]
fn entries_layers_documents_and_records_are_bounded() {
    let made = Made::of_tars(&["a=1 b=1", "c=1"]);
    let with = |limits: ImageLimits| {
        let read = read(&made.place(), &wanted(""), SHA, &limits, &Memory::default());
        read.map_or_else(|error| error.to_string(), |_| "read".to_owned())
    };
    let standard = ImageLimits::standard();
    assert_eq!(with(ImageLimits { entries: 3, layers: 2, ..standard }), "read");
    let too_large = |what: &str| format!("the image is too large: {what}");
    assert_eq!(
        with(ImageLimits { entries: 2, ..standard }),
        too_large("it has more than 2 entries")
    );
    assert_eq!(with(ImageLimits { layers: 1, ..standard }), too_large("it has more than 1 layers"));
    let small = ImageLimits { document: 10, ..standard };
    assert_eq!(with(small), too_large("index.json has more than 10 bytes"));

    let long = format!("{}=x", "d/".repeat(600_000));
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", long.as_bytes())]).unwrap();
    add(&mut builder, "a=1");
    let tar = builder.into_inner().unwrap();
    let error = Made::of(&[(tar.clone(), tar)]).read("").unwrap_err().to_string();
    assert!(error.ends_with("has a record of more than 1048576 bytes about one entry"), "{error}");
    for (path, why) in [
        (format!("{}x=1", "d/".repeat(300)), "deeper than 200 directories"),
        (format!("{}=1", "n".repeat(256)), "a name in its path is longer than 255 bytes"),
        (format!("{}x=1", "name/".repeat(1000)), "its path is longer than 4096 bytes"),
    ] {
        let error = Made::of_tars(&[&path]).read("").unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn what_is_not_read_is_refused_by_its_name() {
    let mut sparse = Header::new_gnu();
    sparse.set_entry_type(EntryType::GNUSparse);
    sparse.set_path("s").unwrap();
    let mut odd = Header::new_gnu();
    odd.set_entry_type(EntryType::new(b'Z'));
    odd.set_path("s").unwrap();
    let mut foreign = Header::new_gnu();
    foreign.as_mut_bytes()[0] = 0xff;
    let mut out = Header::new_gnu();
    out.as_mut_bytes()[..6].copy_from_slice(b"s/../t");
    for (mut header, why) in [
        (out, "has s/../t: its path leaves the image"),
        (sparse, "has a sparse file, which is not read: pack it without `--sparse`"),
        (odd, "has an entry of the unknown kind `Z`: s"),
        (foreign, "has a name that is not UTF-8: \u{fffd}"),
    ] {
        header.set_size(0);
        header.set_mode(0);
        header.set_mtime(0);
        header.set_cksum();
        let tar = header.as_bytes().to_vec();
        let error = Made::of(&[(tar.clone(), tar)]).read("").unwrap_err().to_string();
        assert!(error.ends_with(why), "{error}");
    }
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).unwrap();
    let tar = builder.into_inner().unwrap();
    let error = Made::of(&[(tar.clone(), tar)]).read("").unwrap_err().to_string();
    assert!(error.contains("has a sparse file"), "{error}");
}

/// Whatever bytes a layer has, it is read or refused.
#[test]
fn random_damage_is_refused_or_read_and_never_more() {
    let base = tar_of("a=1 d/ d/b=22 l->a h=>a 755:d/c=333 .wh.x e/.wh..wh..opq");
    let mut seed = 1_u64;
    let mut draw = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % n
    };
    let (mut read_well, mut refused) = (0, 0);
    for _ in 0..1500 {
        let mut tar = base.clone();
        for _ in 0..=draw(3) {
            let block = draw(tar.len() / 512) * 512;
            // Where headers have what is read.
            let at =
                block + [draw(100), 100 + draw(8), 124 + draw(33), 156, 157 + draw(100)][draw(5)];
            tar[at] = [0, b'0', b'7', b'/', 0xff, b'L', b'x'][draw(7)];
            // Headers whose sum is right get further.
            let header = &mut tar[block..block + 512];
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        tar.truncate(tar.len() - draw(4) * 256);
        match Made::of(&[(tar.clone(), tar)]).read("") {
            Ok(_) => read_well += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(read_well > 50 && refused > 50, "{read_well} read, {refused} refused");
}
