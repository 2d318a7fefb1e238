use hands_testkit::mutate::fuzz;

#[test]
fn any_bytes_are_a_canonical_directory_or_an_error() {
    fuzz("directories", super::directories);
}
