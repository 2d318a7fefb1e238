//! Container images made by umoci and copied by skopeo, as the root of an action.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::{Home, Ran, ran};
use crate::processes::level;
use crate::server::{Server, address};

/// Programs that busybox is in the image.
const PROGRAMS: &[&str] = &["sh", "cat", "ls", "echo", "stat", "id", "test", "find", "sort", "pwd"];

/// A layout of two layers, made by umoci as one makes images: unpack, change, pack again.
struct Layout {
    place: PathBuf,
}

impl Layout {
    fn make(home: &Home) -> Self {
        let place = home.work().join("layout");
        let layout = Self { place };
        layout.umoci(&["init", "--layout", layout.text()]);
        layout.umoci(&["new", "--image", &layout.named("one")]);
        let (bundle, root) = layout.unpack(home, "one");
        fs::create_dir_all(root.join("bin")).unwrap();
        let busybox = Command::new("sh").args(["-c", "command -v busybox"]).output().unwrap();
        let busybox = String::from_utf8(busybox.stdout).unwrap();
        fs::copy(busybox.trim(), root.join("bin/busybox")).unwrap();
        for program in PROGRAMS {
            symlink("busybox", root.join("bin").join(program)).unwrap();
        }
        // Its name leads elsewhere on an engine, whose own root is another.
        symlink("/bin/busybox", root.join("bin/head")).unwrap();
        symlink("/data", root.join("linked")).unwrap();
        for path in ["data/kept", "data/gone", "old/a", "old/b"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), format!("one {path}\n")).unwrap();
        }
        fs::hard_link(root.join("data/kept"), root.join("data/twin")).unwrap();
        let long = format!("long/{}", "n".repeat(200));
        fs::create_dir(root.join("long")).unwrap();
        fs::write(root.join(long), "long\n").unwrap();
        fs::set_permissions(root.join("old/a"), fs::Permissions::from_mode(0o4755)).unwrap();
        layout.umoci(&["repack", "--image", &layout.named("one"), &bundle]);
        let config = ["--config.env", "GREETING=from the image", "--config.env", "PATH=/bin"];
        layout.umoci(&[&["config", "--image", &layout.named("one")], &config[..]].concat());

        let (bundle, root) = layout.unpack(home, "one");
        fs::remove_file(root.join("data/gone")).unwrap();
        fs::remove_dir_all(root.join("old")).unwrap();
        fs::create_dir(root.join("old")).unwrap();
        fs::write(root.join("old/new"), "two old/new\n").unwrap();
        layout.umoci(&["repack", "--image", &layout.named("two"), &bundle]);
        layout
    }

    fn text(&self) -> &str {
        self.place.to_str().unwrap()
    }

    fn named(&self, tag: &str) -> String {
        format!("{}:{tag}", self.text())
    }

    fn oci(&self, tag: &str) -> String {
        format!("oci:{}", self.named(tag))
    }

    fn umoci(&self, arguments: &[&str]) {
        called(Command::new("umoci").args(arguments));
    }

    /// A new bundle of an image, and its root file system.
    fn unpack(&self, home: &Home, tag: &str) -> (String, PathBuf) {
        let n = fs::read_dir(home.work()).unwrap().count();
        let bundle = home.work().join(format!("bundle-{n}"));
        let text = bundle.to_str().unwrap().to_owned();
        let rootless: &[&str] =
            if rustix::process::geteuid().is_root() { &[] } else { &["--rootless"] };
        self.umoci(&[&["unpack"], rootless, &["--image", &self.named(tag), &text]].concat());
        (text, bundle.join("rootfs"))
    }

    /// The largest blob: the layer with busybox.
    fn largest(&self) -> PathBuf {
        let blobs = fs::read_dir(self.place.join("blobs/sha256")).unwrap();
        blobs.map(|b| b.unwrap().path()).max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap()
    }
}

fn called(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[expect(clippy::print_stdout, reason = "a skip is told loudly")]
fn has_mounts(home: &Home) -> bool {
    let level = level(home);
    if level == "process" {
        println!("skipped: at isolation level process there is no root of an action's own");
    }
    level != "process"
}

#[track_caller]
fn says(ended: &Ran, expect: &str) {
    assert_eq!((ended.code, ended.out.as_str()), (0, expect), "{ended:?}");
}

#[track_caller]
fn fails(ended: &Ran, code: i32, expect: &str) {
    assert_eq!(ended.code, code, "{ended:?}");
    let lines: Vec<&str> = ended.err.lines().filter(|l| !l.starts_with("hint:")).collect();
    let [line] = lines[..] else { panic!("one sentence: {ended:?}") };
    assert!(line.contains(expect), "{expect}\n{ended:?}");
}

#[test]
fn images_of_umoci_and_skopeo_are_roots_of_actions() {
    let home = Home::new().warm();
    if !has_mounts(&home) {
        return;
    }
    let layout = Layout::make(&home);
    let [one, two] = ["one", "two"].map(|tag| layout.oci(tag));
    let find =
        "cd /; find data old long -type f | sort; cat data/kept data/twin; echo $GREETING; pwd";
    let long = format!("long/{}\n", "n".repeat(200));
    let rest = "one data/kept\none data/kept\nfrom the image\n/\n";
    let old = "old/a\nold/b\n";
    let first = format!("data/gone\ndata/kept\ndata/twin\n{long}{old}{rest}");
    says(&home.run(&["run", "--image", &one, "--", "sh", "-c", find]), &first);
    // What the second layer took away is gone.
    let second = format!("data/kept\ndata/twin\n{long}old/new\n{rest}");
    says(&home.run(&["run", "--image", &two, "--", "sh", "-c", find]), &second);
    // Nothing of this machine's files is there, inputs and outputs are as ever, and --env counts more.
    home.write("in", "sent\n");
    let script = "test ! -e /usr && cat in > out && echo $GREETING";
    let more = ["--input", "in", "--output", "out", "--env", "GREETING=mine"];
    let command = [&["run", "--image", &two][..], &more, &["--", "sh", "-c", script]].concat();
    says(&home.run(&command), "mine\n");
    assert_eq!(home.read("out"), "sent\n");
    // It is said what a tree can't hold.
    let ended = home.run(&["run", "-v", "--image", &one, "--", "cat", "/old/a"]);
    says(&ended, "one old/a\n");
    assert!(ended.err.contains("left out of the image: 1 modes such as setuid"), "{ended:?}");
    let mode = home.run(&["run", "--image", &one, "--", "stat", "-c", "%a", "/old/a"]);
    assert!(mode.code == 0 && !mode.out.starts_with('4'), "{mode:?}");
    // The same tree is the same action.
    let cached = ["run", "--cache", "-v", "--image", &two, "--", "cat", "/data/kept"];
    says(&home.run(&cached), "one data/kept\n");
    let again = home.run(&cached);
    says(&again, "one data/kept\n");
    assert!(again.err.contains("from the cache"), "{again:?}");

    // As docker saves it, and in a layout without a name, of layers that skopeo packs anew.
    let archive = home.work().join("saved.tar");
    let archive = archive.to_str().unwrap();
    let skopeo = |to: &str, more: &[&str]| {
        let mut command = Command::new("skopeo");
        command.arg("--insecure-policy").arg("copy").args(more).args([&two, to]);
        called(&mut command);
    };
    skopeo(&format!("docker-archive:{archive}:x/y:1"), &[]);
    let copy = home.work().join("copy");
    let copy = format!("oci:{}", copy.to_str().unwrap());
    skopeo(&copy, &["--dest-compress-format", "zstd", "--dest-compress"]);
    for image in
        [format!("docker-archive:{archive}"), format!("docker-archive:{archive}:x/y:1"), copy]
    {
        says(&home.run(&["run", "--image", &image, "--", "sh", "-c", find]), &second);
    }
    fails(
        &home.run(&["run", "--image", &format!("docker-archive:{archive}:z"), "--", "true"]),
        125,
        "it has no image `z`; it has docker.io/x/y:1",
    );
}

#[test]
fn an_image_says_where_commands_begin_and_what_runs_without_one() {
    let home = Home::new().warm();
    if !has_mounts(&home) {
        return;
    }
    let layout = Layout::make(&home);
    let config = [
        ["--config.workingdir", "/data"],
        ["--config.entrypoint", "/bin/cat"],
        ["--config.cmd", "kept"],
        ["--config.user", "12"],
    ];
    layout.umoci(&[&["config", "--image", &layout.named("two")], &config.concat()[..]].concat());
    let [one, two] = ["one", "two"].map(|tag| layout.oci(tag));
    says(&home.run(&["run", "--image", &two]), "one data/kept\n");
    fails(&home.run(&["run", "--image", &one]), 125, "the image has none of its own");
    // What is given runs as it is, and inputs are laid over what the image has there.
    home.write("in", "sent\n");
    let script = "pwd; cat kept in >out; ls";
    let more = ["--input", "in", "--output", "out", "--", "sh", "-c", script];
    let ended = home.run(&[&["run", "--image", &two][..], &more].concat());
    says(&ended, "/data\nin\nkept\nout\ntwin\n");
    assert_eq!(home.read("out"), "one data/kept\nsent\n");
    // Also for many commands, and for a prompt's lines.
    let lines = "cat twin\necho $GREETING; pwd\n";
    let expected = "one data/kept\nfrom the image\n/data\n";
    says(&home.run_with(&["batch", "--jobs", "1", "--image", &two, "-"], lines), expected);
    says(&home.run_with(&["shell", "--image", &two], lines), expected);
    // Where it begins may be a link.
    let config = ["--config.workingdir", "/linked"];
    layout.umoci(&[&["config", "--image", &layout.named("one")], &config[..]].concat());
    let ended = home.run(&["run", "--image", &one, "--input", "in", "--", "cat", "kept", "in"]);
    says(&ended, "one data/kept\nsent\n");
    // It is known by its manifest, and not read again.
    let largest = layout.largest();
    fs::write(&largest, b"damaged").unwrap();
    says(&home.run(&["run", "--image", &two]), "one data/kept\n");
    // Whatever instruction sets are called here or there.
    for arch in ["arm64", "arm-a64", "aarch64"] {
        let other = if cfg!(target_arch = "aarch64") { "amd64" } else { arch };
        let refused = home.run(&["run", "--image", &one, "--arch", other, "--", "true"]);
        let named = if other == "amd64" { "linux/amd64" } else { "linux/arm64" };
        fails(&refused, 125, &format!("the image is not there for {named}"));
    }
}

#[test]
fn an_image_lies_in_the_input_root_on_another_engine() {
    let home = Home::new();
    let layout = Layout::make(&home);
    let config = ["--config.workingdir", "/data"];
    layout.umoci(&[&["config", "--image", &layout.named("two")], &config[..]].concat());
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (_hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = address(&line);
    let worker = ["worker", &address, "--isolation", &level(&home)];
    let (_worker, _) = Server::start(&home, &worker, "connected to the hub");
    let (engine, image) = (format!("grpc://{address}"), layout.oci("two"));
    let run = |more: &[&str]| {
        home.run(&[&["run", "--engine", &engine, "--image", &image][..], more].concat())
    };
    home.write("in", "sent\n");
    // Its busybox, and beside its files what is sent; the machine's own root is there, too.
    let ended = run(&[
        "--input",
        "in",
        "--output",
        "out",
        "--",
        "sh",
        "-c",
        "cat kept in >out; ls -d /usr",
    ]);
    says(&ended, "/usr\n");
    assert_eq!(home.read("out"), "one data/kept\nsent\n");
    assert!(ended.err.contains("the image lies in the input root and is not"), "{ended:?}");
    let asked = ["run", "--engine", &engine, "--image", &image, "-i", "--", "busybox", "cat", "-"];
    says(&home.run_with(&asked, "typed\n"), "typed\n");
    // A program that tells by its name what it is, where an absolute link leads to it; with standard input too.
    for word in ["head", "/bin/head"] {
        says(&run(&["--", word, "-n1", "kept"]), "one data/kept\n");
    }
    let batch =
        ["batch", "--jobs", "1", "--engine", &engine, "--image", &image, "--", "{}", "kept"];
    let ended = home.run(&[&batch[..], &[":::", "head", "cat", "head"]].concat());
    says(&ended, &"one data/kept\n".repeat(3));
    let asked = ["run", "--engine", &engine, "--image", &image, "-i", "--", "head", "-n1"];
    says(&home.run_with(&asked, "a\nb\n"), "a\n");
    // A working directory below a link.
    let config = ["--config.workingdir", "/linked"];
    layout.umoci(&[&["config", "--image", &layout.named("two")], &config[..]].concat());
    says(&run(&["--input", "in", "--", "cat", "kept", "in"]), "one data/kept\nsent\n");
}

#[test]
fn an_image_goes_to_a_hub_elsewhere() {
    let home = Home::new();
    if !has_mounts(&home) {
        return;
    }
    let layout = Layout::make(&home);
    let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
    let (_hub, line) = Server::start(&home, &listen, "the hub serves");
    let address = address(&line);
    let worker = ["worker", &address, "--isolation", &level(&home)];
    let (_worker, _) = Server::start(&home, &worker, "connected to the hub");
    let image = layout.oci("two");
    let command = ["run", "--cluster", &address, "--image", &image, "--", "cat", "/old/new"];
    says(&home.run(&command), "two old/new\n");
}

#[test]
fn what_is_wrong_with_an_image_is_one_sentence() {
    let home = Home::new().warm();
    let layout = Layout::make(&home);
    let run = |image: &str, more: &[&str]| {
        home.run(&[&["run", "--image", image], more, &["--", "true"]].concat())
    };
    fails(&run("busybox", &[]), 125, "`busybox` is no image: name one as oci:DIR[:NAME]");
    fails(
        &run("oci:no/such:x", &[]),
        125,
        "the image no/such can't be opened: No such file or directory",
    );
    fs::create_dir(home.work().join("empty")).unwrap();
    fails(&run("oci:empty", &[]), 125, "empty: this is no OCI image layout: it has no index.json");
    fails(&run("oci:layout:x", &[]), 125, "layout: it has no image `x`; it has one, two");
    fails(&run("oci:layout", &[]), 125, "layout: it has several images, name one: one, two");
    let arch = ["--arch", "s390x"];
    fails(&run("oci:layout:one", &arch), 125, "layout: the image is not there for linux/s390x");
    let prop = ["--prop", "layer=/=x/1"];
    fails(&run("oci:layout:one", &prop), 125, "--image and --prop layer=/=… both give");
    let largest = layout.largest();
    let good = fs::read(&largest).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&largest, &bad).unwrap();
    fails(&run("oci:layout:one", &[]), 125, "layout: the image is damaged: layer 1 (");
    fs::write(&largest, &good[..good.len() / 2]).unwrap();
    fails(&run("oci:layout:one", &[]), 125, "layout: the image is damaged: layer 1 (");
    fs::remove_file(&largest).unwrap();
    fails(&run("oci:layout:one", &[]), 125, ") is missing");
    let batch = ran(home.hands(&["run", "--image"]).output().unwrap());
    assert_eq!(batch.code, 125, "{batch:?}");
    assert!(Path::new(layout.text()).is_dir());
}
