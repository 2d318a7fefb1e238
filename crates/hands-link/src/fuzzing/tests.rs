use hands_testkit::mutate::fuzz;

#[test]
fn any_bytes_are_a_join_string_or_an_error() {
    fuzz("join_strings", super::join_strings);
}

#[test]
fn any_bytes_are_a_token_or_an_error() {
    fuzz("tokens", super::tokens);
}
