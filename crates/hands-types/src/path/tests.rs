//! Paths taken from a directory.

use super::RelPath;

/// All texts of up to `n` names.
fn paths(n: u32) -> Vec<String> {
    let names = ["", ".", "..", "a", "b\0"];
    let mut all = vec![String::new()];
    for _ in 0..n {
        let longer: Vec<String> =
            all.iter().flat_map(|path| names.map(|name| format!("{path}/{name}"))).collect();
        all.extend(longer);
    }
    all.iter().map(|path| path.trim_start_matches('/').to_owned()).collect()
}

#[test]
fn a_path_below_a_directory_is_what_both_together_are() {
    for directory in ["", "a", "a/b", "a/b/c"] {
        let depth = RelPath::new(directory).unwrap().names().count();
        for path in paths(4) {
            let whole = RelPath::normalized(&format!("./{directory}/{path}"));
            let below = RelPath::check_below(depth, &path);
            // A name that `..` takes back may hold a NUL in the whole, and no file has such a name.
            if whole.is_err() || !path.contains('\0') {
                assert_eq!(
                    below.map_err(|e| e.why),
                    whole.map(drop).map_err(|e| e.why),
                    "{path:?}"
                );
            } else {
                assert_eq!(below.unwrap_err().why, "holds a NUL", "{path:?}");
            }
        }
    }
}
